"""Which section of an outbox record goes into which table."""

from collections.abc import Sequence
from dataclasses import dataclass

from streams.contracts.sections import Outbox


@dataclass(frozen=True, slots=True)
class Target:
    """Where the lines of a section go."""

    section: str
    table: str
    columns: Sequence[str] | None = None
    """Those that are given, where that must be said; ``None`` leaves it to the lines."""


DEAD_LETTERS = Target(
    Outbox.DEAD_LETTERS,
    "dead_letters",
    (
        *("receipt", "number", "part", "parts", "source", "reason", "detail", "topic", "partition", "offset"),
        *("version", "received_at", "raw_base64"),
    ),
)

TARGETS = (
    Target(Outbox.EVENTS, "events"),
    Target(Outbox.RECEIPTS, "receipt_parts"),
    Target(Outbox.ANSWERED, "answered_posts"),
    DEAD_LETTERS,
    Target(Outbox.LOSSES, "losses"),
)
"""In the order in which they are written. Lifecycles, suppressions and statistics are made of the events."""
