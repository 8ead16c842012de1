"""Which section of an outbox record goes into which table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.contracts.sections import Outbox


@dataclass(frozen=True, slots=True)
class Target:
    """Where the lines of a section go."""

    section: str
    table: str
    columns: Sequence[str] | None = None
    """Those that are given, where that must be said; ``None`` leaves it to the lines."""

    known_by: tuple[tuple[str, type], ...] = ()
    """The members by which a line is found again in the table. None where a line that comes twice does no harm: what is
    counted is counted by events and receipts."""

    def condition(self) -> str:
        """Write the condition that finds a line, by parameters that are named as its members."""
        return " and ".join(_CONDITIONS[kind].format(name=name) for name, kind in self.known_by)

    def parameters(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """Give the parameters of the condition.

        Raises:
            TypeError: the line is in no table.
            KeyError: as above.
        """
        for name, kind in self.known_by:
            if not isinstance(line[name], kind) or line[name] == []:
                raise TypeError(name)
        return {name: _texts(line[name]) if kind is list else line[name] for name, kind in self.known_by}


_CONDITIONS: Mapping[type, str] = {
    str: "{name} = {{{name}:String}}",
    list: "hasAny(arrayMap(one -> toString(one), {name}), {{{name}:Array(String)}})",
}


def _texts(tuples: Sequence[Sequence[int]]) -> Sequence[str]:
    """Write tuples of numbers as ClickHouse does."""
    return [f"({','.join(map(str, one))})" for one in tuples]


DEAD_LETTERS = Target(
    Outbox.DEAD_LETTERS,
    "dead_letters",
    (
        *("receipt", "number", "part", "parts", "source", "reason", "detail", "topic", "partition", "offset"),
        *("version", "received_at", "raw_base64"),
    ),
)

TARGETS = (
    Target(Outbox.EVENTS, "events", known_by=(("message_id", str), ("id", str), ("receipt", str))),
    Target(Outbox.RECEIPTS, "receipt_parts", known_by=(("receipt", str), ("places", list))),
    Target(Outbox.ANSWERED, "answered_posts"),
    DEAD_LETTERS,
    Target(Outbox.LOSSES, "losses"),
)
"""In the order in which they are written. Lifecycles, suppressions and statistics are made of the events."""
