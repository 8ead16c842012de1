"""todoke's own form of events, for senders that are no mail service: a JSON array, one object, or a line for each."""

import re

from ingest.bodies import UnreadableError, read_json
from ingest.event import Event
from ingest.harvest import AsideError, Context, Harvest, Identities, Parcel, Reject, Times, check_key, dump, texts
from streams.contracts import identity
from streams.contracts.dead_letter import Reason
from streams.contracts.events import SUPPRESSION_TYPES, EventType

TYPES = frozenset(EventType)

JOINED = b"}{"
"""Where lines meet whose ends were taken out, as ``curl --data @FILE`` does."""

_LINES = re.compile(r"(?:application|text)/(?:x-)?(?:ndjson|jsonl|jsonlines|json-lines)\b", re.IGNORECASE)


class Generic:
    """The form of ``POST /v1/events``: fields as the events that come out, most of them optional."""

    shows_key = False

    def unpack(self, raw: bytes, content_type: str) -> Parcel:
        """Read a body into its records; of lines, each one still as bytes, since one bad line spoils no other."""
        if _LINES.match(content_type):
            return Parcel(content=[line for line in raw.split(b"\n") if line.strip()], raw=raw)
        content = read_json(raw)
        return Parcel(content=content if isinstance(content, list) else [content], raw=raw)

    def mistaken(self, raw: bytes, content_type: str) -> str:
        """Recognise lines that were not announced as such."""
        first, _, others = raw.strip().partition(b"\n")
        if _LINES.match(content_type) or not others or not (first.startswith(b"{") and first.rstrip().endswith(b"}")):
            return ""
        announced = f"its Content-Type is {content_type[:60]!r}" if content_type else "it has no Content-Type"
        return f"the body looks like one event a line, and {announced}: send Content-Type: application/x-ndjson"

    def harvest(self, parcel: Parcel, context: Context) -> Harvest:
        """Make events of the records."""
        context.check_count(parcel.content)
        reading = _Reading(context)
        harvest = Harvest()
        for number, record in enumerate(parcel.content):
            try:
                harvest.events.append(reading.event(record))
            except AsideError as aside:
                raw = record if isinstance(record, bytes) else dump(record)
                harvest.put_aside(Reject(aside.reason, f"event {number}: {aside}", raw))
        return harvest


class _Reading:
    """Makes events of the records of one post."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._times = Times(context.zone, must_tell_offset=True)
        self._identities = Identities()

    def event(self, record: object) -> Event:
        """Make an event of a record.

        Raises:
            AsideError: it makes none.
        """
        fields = texts(_parsed(record))
        get = fields.get
        word = get("type", "")
        message_id = identity.message_id(get("message_id", ""))
        recipient = identity.recipient(get("recipient", ""))
        occurred_raw = get("occurred_at")
        if occurred_raw is None or not word:
            raise AsideError(Reason.RECORD_SHAPE, f"it has no {'occurred_at' if word else 'type'}")
        check_key(message_id, recipient)
        if not recipient and word in SUPPRESSION_TYPES:
            raise AsideError(Reason.RECORD_SHAPE, f"{word} is about an address, and it has no recipient")
        occurred_at = self._times.read(occurred_raw)
        if occurred_at is None:
            raise AsideError(
                Reason.RECORD_TIME,
                f"occurred_at is {occurred_raw[:60]!r}, no time of 1970 to 2299 with its offset: 2023-01-25T14:03:06Z",
            )
        is_known = word in TYPES
        status = get("provider_status", "") if is_known else word
        source, given = self._context.source, get("id")
        composition, reason = get("composition", ""), get("reason", "")
        source_ip, sender_ip = get("source_ip", ""), get("sender_ip", "")
        words = (source, composition, word, message_id, recipient, status, occurred_raw, reason, source_ip, sender_ip)
        return Event(
            identity.event_id((source, "id", given, message_id, recipient, word))
            if given
            else self._identities.draw(words),
            source,
            get("provider") or self._context.provider,
            composition,
            word if is_known else EventType.UNKNOWN,
            status,
            message_id,
            recipient,
            get("sender", ""),
            get("return_path", ""),
            get("subject", ""),
            reason,
            get("api_data", ""),
            source_ip,
            sender_ip,
            get("bounce_code", ""),
            get("bounce_class", ""),
            get("bounce_reason", ""),
            occurred_at,
            occurred_raw,
            self._context.received_at,
            self._context.receipt,
        )


def _parsed(record: object) -> object:
    """Parse a line; a record of an array has been parsed with it."""
    if not isinstance(record, bytes):
        return record
    try:
        return read_json(record)
    except UnreadableError as error:
        sentence = str(error).replace("the body", "the line")
        if JOINED in record:
            sentence += "; it looks like several events in one line: send each in its own (curl needs --data-binary)"
        raise AsideError(Reason.RECORD_SHAPE, sentence) from error
