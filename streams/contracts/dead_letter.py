"""Dead letters: what could not be read is kept raw, with the reason, visible and replayable."""

import base64
from collections.abc import Iterator
from enum import StrEnum
from typing import TypedDict

PART_LIMIT = 512 * 1024
"""Raw bytes per dead letter: base64 of it, and its neighbours, fit a chunk. Longer bodies come in parts."""


class Reason(StrEnum):
    """Why something was quarantined. Part of the public contract: header ``reason``, column ``reason``."""

    BODY_UNREADABLE = "body_unreadable"
    """The body is not JSON, form data or text of the announced encoding."""

    BODY_SHAPE = "body_shape"
    """Readable, but not what the provider documents: no known event type, no array of events."""

    RECORD_SHAPE = "record_shape"
    """One record of a good body is not an object, or lacks what makes it an event."""

    RECORD_TIME = "record_time"
    """One record's time cannot be read."""

    RECORD_TOO_LARGE = "record_too_large"
    """One event does not fit a chunk."""

    CHUNK_UNREADABLE = "chunk_unreadable"
    """A record of the inbox has a form that the worker cannot read."""

    CHUNK_POISON = "chunk_poison"
    """The correlation raised on a chunk."""

    ROW_REFUSED = "row_refused"
    """ClickHouse refuses the row, or the line cannot be published."""


class DeadLetter(TypedDict):
    """One dead letter as a line of the section ``dead_letters``; also the columns of ``mail.dead_letters``."""

    receipt: str
    number: int
    """Counts the dead letters of one receipt, from 0."""
    part: int
    parts: int
    source: str
    reason: str
    detail: str
    """A sentence for people: what is wrong and where."""
    topic: str
    partition: int
    offset: int
    """Where from, if from a topic: else empty, -1, -1."""
    version: str
    """The version of todoke that gave up on it."""
    received_at: str
    raw_base64: str


def split(raw: bytes) -> Iterator[tuple[int, int, str]]:
    """Cut raw bytes into parts that fit a chunk: ``(part, parts, base64)`` each; one part for no bytes at all."""
    parts = max(1, -(-len(raw) // PART_LIMIT))
    for part in range(parts):
        piece = raw[part * PART_LIMIT : (part + 1) * PART_LIMIT]
        yield part, parts, base64.b64encode(piece).decode("ascii")
