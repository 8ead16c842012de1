"""The sections of inbox and outbox records, and the lines that stand in them."""

import json
from enum import StrEnum
from typing import NotRequired, TypedDict

from streams.contracts.identity import SEPARATOR

INTERNAL_TAIL = b',"~":'
"""Where the worker's own part of a lifecycle's line begins. A quote inside JSON text is always escaped, so these bytes
cannot come from an event."""


class Inbox(StrEnum):
    """Sections of an inbox record, written by ingest."""

    EVENTS = "events"
    """`streams.contracts.events.Event`, one a line."""

    RECEIPTS = "receipts"
    """`ReceiptPart`: the posts that have something in this record."""

    DEAD_LETTERS = "dead_letters"
    """`streams.contracts.dead_letter.DeadLetter`."""

    ANSWERED = "answered"
    """`Answered`: which posts were answered, see `streams.contracts.receipts`."""


class Outbox(StrEnum):
    """Sections of an outbox record, written by the worker."""

    EVENTS = "events"
    """The unique ones, bytes as they came."""

    LIFECYCLES = "lifecycles"
    """The current lifecycle of everything that was touched, with the worker's own part behind `INTERNAL_TAIL`."""

    SEEN = "seen"
    """`Seen`: the unique events that belong to no lifecycle, for recognising their duplicates."""

    SUPPRESSIONS = "suppressions"
    """`Suppression`: what changed."""

    RECEIPTS = "receipts"
    """`ReceiptCount`: what became of each receipt's events."""

    DEAD_LETTERS = "dead_letters"
    """From ingest and from the worker itself."""

    ANSWERED = "answered"
    """As it came."""

    LOSSES = "losses"
    """`Loss`: inbox offsets that the log no longer held when the worker came to them."""


class ReceiptPart(TypedDict):
    """What one post has in one inbox record."""

    receipt: str
    source: str
    received_at: str
    accepted: int
    """Events and dead letters of the whole post, in all its chunks."""
    events: int
    dead_letters: int
    """In this record."""
    part: NotRequired[int]
    """Counts the parts of the post. The same number again is a copy, of who did not know that it had arrived."""


Arrival = tuple[int, int, int, int, int]
"""Where a part of a post arrived: part, shard, inbox offset, its events and dead letters together, its dead letters."""


class ReceiptCount(TypedDict):
    """What became of the part of a post that one inbox record held; sums over all parts give the post."""

    receipt: str
    source: str
    received_at: str
    accepted: int
    """Of the whole post, the same in every part."""
    unique: int
    duplicate: int
    dead_lettered: int
    places: list[Arrival]
    """Of the parts that tell their number."""


class Answered(TypedDict):
    """Posts of one ingest instance that were answered: all up to ``through`` but for ``abandoned``."""

    instance: str
    through: int
    abandoned: list[int]


class Seen(TypedDict):
    """An event that belongs to no lifecycle."""

    id: str
    received_at: str


class Suppression(TypedDict):
    """The latest that is known of one address: blocked, or no longer."""

    source: str
    recipient: str
    blocked: bool
    reason: str
    since: str
    until: str | None
    event: str
    """The event that says so."""


class Loss(TypedDict):
    """Inbox offsets ``first`` to ``last`` of a shard that were gone before they could be read.

    ``last`` is ``first - 1`` where the inbox was made anew: how much it had held behind ``first`` nobody knows.
    """

    shard: int
    first: int
    last: int
    found_at: str


# A quote inside JSON text is always escaped, so none of these can stand inside of a value.
_SOURCE, _MESSAGE_ID, _RECIPIENT, _STATE = b'{"source":"', b'","message_id":"', b'","recipient":"', b'","state":"'
_EVENT_ID, _EVENT_ID_ENDS = len(b'{"id":"'), len(b'{"id":"') + 32
_ESCAPE = b"\\"
_SEPARATOR = SEPARATOR.encode()


def lifecycle_key(line: bytes) -> bytes:
    """Read the public key off a lifecycle's line: source, message id and recipient, joined by U+001F.

    What makes the key stands first in the line and is nearly always free of escapes, so nothing is parsed.

    Raises:
        ValueError: it is no such line.
    """
    end = line.index(_STATE)
    name = line[len(_SOURCE) : end]
    if _ESCAPE in name:
        return SEPARATOR.join(json.loads(line[:end] + b'"}').values()).encode()
    return name.replace(_MESSAGE_ID, _SEPARATOR).replace(_RECIPIENT, _SEPARATOR)


def event_key(line: bytes) -> bytes:
    """Read the public key off an event's line: the message id, empty if it has none.

    Raises:
        ValueError: it is no such line.
    """
    begin = line.index(_MESSAGE_ID) + len(_MESSAGE_ID)
    message_id = line[begin : line.index(_RECIPIENT, begin)]
    return json.loads(b'"%b"' % message_id).encode() if _ESCAPE in message_id else message_id


def event_id(line: bytes) -> bytes:
    """Read the id off an event's line, of which it is the first member."""
    return line[_EVENT_ID:_EVENT_ID_ENDS]


def public_lifecycle(line: bytes) -> bytes:
    """Cut the worker's own part off a lifecycle's line: what remains is the public lifecycle, JSON."""
    return line[: line.rindex(INTERNAL_TAIL)] + b"}"
