"""What an inbox record comes to: the sections of its outbox record, and how much of what there was."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How much of what an inbox record held."""

    events: int = 0
    """Lines that are events, and lines that should have been."""

    unique: int = 0
    duplicates: int = 0

    dead_letters: int = 0
    """Found by ingest or by the worker; the parts of one count once."""

    diverted: int = 0
    """Events that the worker itself sent to the dead letters; 1 for a record that cannot be taken apart."""

    lifecycles: int = 0
    """That changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What an inbox record comes to."""

    sections: dict[str, bytes]
    """Of the outbox record: lines by `streams.contracts.sections.Outbox`."""

    counts: Counts

    keys: Collection[str] = ()
    """Of the lifecycles, in the order of their lines: see `streams.lifecycle.key`."""


def lines(of: list[bytes]) -> bytes:
    """Join lines into a section."""
    return b"\n".join([*of, b""]) if of else b""
