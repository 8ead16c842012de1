"""What a provider's module makes of one post: events, and what had to be put aside."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, Protocol

import orjson

from ingest.bodies import OverLimitError, UnreadableError
from ingest.event import Event
from streams.contracts.clock import rfc3339
from streams.contracts.dead_letter import Reason
from streams.contracts.errors import TodokeError
from streams.contracts.identity import SEPARATOR, event_id

FIRST_YEAR, LAST_YEAR = 1970, 2299
"""Years that a time may lie in: ClickHouse's DateTime64 ends there, and no mail was sent before."""

REJECTS_LIMIT = 1000
"""Records of one post that become dead letters of their own. Each takes much more room than in the body."""

KEY_LIMIT = 4096
"""Characters that message id and recipient may have together: they become keys, and RFC 5322 allows 998 a line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What the events of one post share."""

    source: str
    provider: str
    zone: tzinfo
    """Of times that carry none."""
    receipt: str
    received_at: str
    max_events: int
    """That one post may hold."""

    def check_count(self, records: Sequence[Any]) -> None:
        """Check that there are not too many records, before anything is made of them: an event takes much more memory.

        Raises:
            OverLimitError: there are.
        """
        if len(records) > self.max_events:
            raise OverLimitError


@dataclass(frozen=True, slots=True)
class Reject:
    """Something that is no event, to become a dead letter."""

    reason: Reason
    detail: str
    """A sentence for people."""
    raw: bytes
    """In a form that can be posted again."""


@dataclass(slots=True)
class Harvest:
    """Everything that one post held."""

    events: list[Event] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def put_aside(self, reject: Reject) -> None:
        """Take a record that makes no event.

        Raises:
            UnreadableError: there are so many of them that the body is to be kept as a whole instead.
        """
        self.rejects.append(reject)
        if len(self.rejects) > REJECTS_LIMIT:
            raise UnreadableError(
                f"more than {REJECTS_LIMIT} records make no event, the last one: {reject.detail}", reject.reason
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """A body that was read, before anything was made of it."""

    content: Any
    """The provider's own business."""
    api_key: str | None = None
    """What the body shows as its key; no longer part of the rest."""
    raw: bytes
    """The body as it may be kept."""


class Provider(Protocol):
    """Knows the form of one provider's posts. Pure: neither waits nor remembers."""

    @property
    def shows_key(self) -> bool:
        """Tell whether its bodies may show a key."""
        ...

    def unpack(self, raw: bytes, content_type: str) -> Parcel:
        """Read a body, which is not empty.

        Raises:
            UnreadableError: it is not of the form that its content type announces.
        """
        ...

    def mistaken(self, raw: bytes, content_type: str) -> str:
        """Tell what a body that made no event looks like, where its content type says something else; else nothing."""
        ...

    def harvest(self, parcel: Parcel, context: Context) -> Harvest:
        """Make events of it.

        Raises:
            UnreadableError: it is readable, but as a whole not what this provider sends.
            OverLimitError: there are too many.
        """
        ...


class AsideError(TodokeError):
    """One record makes no event; its message is a sentence for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Times:
    """Reads the times of one post, each distinct one once: at a resolution of one second they are few."""

    def __init__(self, zone: tzinfo, *, must_tell_offset: bool = False) -> None:
        """Begin a post.

        Args:
            zone: which the times are in, unless they say so themselves.
            must_tell_offset: whether they must, as RFC 3339 demands.
        """
        self._zone = None if must_tell_offset else zone
        self._known: dict[str, str | None] = {}

    def read(self, text: str) -> str | None:
        """Read a time and write it as records carry it; ``None`` if it is none."""
        try:
            return self._known[text]
        except KeyError:
            time = self._known[text] = self._convert(text)
            return time

    def _convert(self, text: str) -> str | None:
        try:
            moment = datetime.fromisoformat(text.strip().upper())  # RFC 3339, section 5.6: t and z may be small
            if moment.tzinfo is None:
                if self._zone is None:
                    return None
                moment = moment.replace(tzinfo=self._zone)
            utc = moment.astimezone(UTC)
        except (ValueError, OverflowError):
            return None
        return rfc3339(utc) if FIRST_YEAR <= utc.year <= LAST_YEAR else None


class Identities:
    """Draws the identities of one post's events, so that equal ones within it stay apart."""

    def __init__(self) -> None:
        self._multiplicities: dict[str, int] = {}

    def draw(self, words: Sequence[str]) -> str:
        """Make the identity of the next event with these words, see `streams.contracts.identity.event_id`."""
        first = event_id(words)
        multiplicity = self._multiplicities.get(first, 0)
        self._multiplicities[first] = multiplicity + 1
        return event_id(words, multiplicity) if multiplicity else first


def check_key(message_id: str, recipient: str) -> None:
    """Check that an event can be told from others by what it is about.

    Raises:
        AsideError: it has neither, or what no mail has.
    """
    key = message_id + recipient
    if not key:
        raise AsideError(Reason.RECORD_SHAPE, "it has neither a message id nor a recipient")
    if len(key) > KEY_LIMIT or SEPARATOR in key:
        raise AsideError(
            Reason.RECORD_SHAPE, f"its message id and recipient have over {KEY_LIMIT} characters or hold U+001F"
        )


def texts(record: object) -> dict[str, str]:
    """Give a record as texts by name: the same object where that is what it is, as nearly always.

    Raises:
        AsideError: it is no object, or one of its values is nested too deeply to be written again.
    """
    if not isinstance(record, dict):
        raise AsideError(Reason.RECORD_SHAPE, "it is no object")
    try:
        "".join(record.values())  # the quickest way to see that all are texts
    except TypeError:
        return _as_texts(record)
    return record


def _as_texts(record: dict[str, Any]) -> dict[str, str]:
    try:
        return {name: text(value) for name, value in record.items()}
    except UnreadableError as error:
        raise AsideError(Reason.RECORD_SHAPE, str(error).replace("the body", "a value")) from error


def text(value: object) -> str:
    """Give a value as text: nothing for null, JSON for what is no text.

    Raises:
        UnreadableError: as `dump`.
    """
    if isinstance(value, str):
        return value
    return "" if value is None else dump(value).decode()


def dump(value: object) -> bytes:
    """Write a value as JSON.

    Raises:
        UnreadableError: it is nested so deeply that it cannot be written again.
    """
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise UnreadableError("the body is nested too deeply", Reason.BODY_SHAPE) from error
