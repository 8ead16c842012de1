"""Reading a dead letter again, with the providers and the settings of today. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import orjson

from deploy.dead_letters import Letter
from deploy.table import counted
from ingest.bodies import OverLimitError, UnreadableError
from ingest.harvest import Context, Reject
from ingest.providers import PROVIDERS
from ingest.settings import ProviderName, SourceSettings
from streams.contracts.codec import decode
from streams.contracts.dead_letter import Reason
from streams.contracts.errors import FormError
from streams.contracts.events import Event
from streams.contracts.topics import CHUNK_LIMIT
from streams.lifecycle import Event as CheckedEvent

MULTIPART = b"--"
LINES = "application/x-ndjson"
NUMBER = re.compile(r"^(?:event|record) \d+: ")
"""How what is said of one record of a post begins."""
_events = msgspec.json.Decoder(CheckedEvent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rereading:
    """What a letter says now."""

    events: tuple[Event, ...] = ()
    record: bytes | None = None
    """A whole record of the inbox that can be read now: to be put back as it is, with its own receipts."""
    trouble: str = ""
    """Why nothing, or not all of it, can be read: of the forms that it may have, in the one in which it came."""


def reread(letter: Letter, sources: Mapping[str, SourceSettings], receipt: str, received_at: str) -> Rereading:
    """Read a letter.

    Args:
        letter: which.
        sources: as configured now.
        receipt: that the events get.
        received_at: that the events get.
    """
    if letter.raw is None:
        return Rereading(trouble="a part of it is not in the table")
    if letter.reason == Reason.ROW_REFUSED:
        return Rereading(
            trouble="ClickHouse refused it; the pipeline has counted it, and would take it for a duplicate"
        )
    if not letter.source:
        return _of_chunk(letter.raw, receipt, received_at)
    settings = sources.get(letter.source)
    if settings is None:
        return Rereading(trouble=f"there is no source {letter.source} any more: configure [sources.{letter.source}]")
    return _of_post(letter.raw, letter, settings, receipt, received_at)


def _of_chunk(raw: bytes, receipt: str, received_at: str) -> Rereading:
    """Read what the worker gave up on: a whole record, or lines of events."""
    try:
        decode(raw, CHUNK_LIMIT)  # as the worker reads it
    except FormError:
        pass
    else:
        return Rereading(record=raw)
    events: list[Event] = []
    bad = 0
    for line in raw.splitlines():
        try:
            _events.decode(line)
            event: Event = orjson.loads(line)
            orjson.dumps(event)  # nested more deeply than that it could not be put into the inbox
        except (ValueError, TypeError, RecursionError):
            bad += 1
            continue
        events.append({**event, "receipt": receipt, "received_at": received_at})
    return Rereading(
        events=tuple(events), trouble=counted(bad, "line is no event", "lines are no events") if bad else ""
    )


def _of_post(raw: bytes, letter: Letter, settings: SourceSettings, receipt: str, received_at: str) -> Rereading:
    """Read a post, or a record of one, as its source's provider writes it; else in todoke's own form."""
    troubles: list[str] = []
    for provider, content_type in _forms(raw, settings.provider):
        context = Context(
            source=letter.source,
            provider=provider,
            zone=settings.zone,
            receipt=receipt,
            received_at=received_at,
            max_events=settings.max_body_events,
        )
        reading = PROVIDERS[provider]
        try:
            harvest = reading.harvest(reading.unpack(raw, content_type), context)
        except (UnreadableError, OverLimitError) as error:
            troubles.append(str(error) or "it has more events than sources.NAME.max_body_events")
            continue
        left = _left(harvest.rejects, letter)
        if harvest.events:
            return Rereading(events=tuple(map(msgspec.to_builtins, harvest.events)), trouble=left)
        if left and provider is settings.provider:
            return Rereading(trouble=left)  # it is of this form: only its records are wrong
        troubles.append(left or "it holds no event")
    gist = _gist(letter.detail)
    return Rereading(trouble=next((trouble for trouble in troubles if _gist(trouble) == gist), troubles[0]))


def _left(rejects: Sequence[Reject], letter: Letter) -> str:
    """Say what is wrong with the first of what cannot be read; a letter that is one record of its post is alone now."""
    left = rejects[0].detail if rejects else ""
    return NUMBER.sub("", left) if NUMBER.match(letter.detail) else left


def _gist(trouble: str) -> str:
    """Leave out which record of its post it was, since it is alone now, and a parser's own words."""
    return NUMBER.sub("", trouble).partition(": ")[0]


def _forms(raw: bytes, provider: ProviderName) -> Iterator[tuple[ProviderName, str]]:
    """List how a body may be written; its Content-Type was not kept. An empty one lets the provider look."""
    first = raw.split(b"\n", 1)[0].strip()
    if first.startswith(MULTIPART):
        yield provider, f"multipart/form-data; boundary={first[2:].decode('utf-8', 'replace')}"
    yield provider, ""
    if provider is not ProviderName.GENERIC:
        yield ProviderName.GENERIC, ""
    yield ProviderName.GENERIC, LINES
