"""Which section of an outbox record goes into which table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from streams.contracts.events import Event
from streams.contracts.sections import Outbox


def inserting(table: str, columns: Sequence[str] | None = None) -> str:
    """Write the INSERT for lines that are read as they are stored."""
    named = f" ({', '.join(columns)})" if columns else ""
    return f"insert into {table}{named} format JSONEachRow"


@dataclass(frozen=True)
class Target:
    """Where the lines of a section go."""

    section: str
    table: str
    columns: Sequence[str] | None = None
    """Those that are given, where that must be said; ``None`` leaves it to the lines."""

    types: Mapping[str, str] | None = None
    """As what the members of a line are read, where that is not left to the table. ClickHouse takes 3 microseconds less
    for an event if it reads texts as String, and makes LowCardinality of a whole column of them."""

    known_by: tuple[tuple[str, type], ...] = ()
    """The members by which a line is found again in the table. None where a line that comes twice does no harm: what is
    counted is counted by events and receipts."""

    @cached_property
    def statement(self) -> str:
        """The INSERT, which the lines follow."""
        if self.types is None:
            return inserting(self.table, self.columns)
        names = ", ".join(self.types)
        read = ", ".join(f"{name} {kind}" for name, kind in self.types.items()).replace("'", "\\'")
        select = f"select {names} from input('{read}')"  # noqa: S608 - constants
        return f"insert into {self.table} ({names}) {select} format JSONEachRow"

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


_EVENT_TYPES: Mapping[str, str] = dict.fromkeys(("occurred_at", "received_at"), "DateTime64(3, 'UTC')")

DEAD_LETTERS = Target(
    Outbox.DEAD_LETTERS,
    "dead_letters",
    (
        *("receipt", "number", "part", "parts", "source", "reason", "detail", "topic", "partition", "offset"),
        *("version", "received_at", "raw_base64"),
    ),
)

TARGETS = (
    Target(
        Outbox.EVENTS,
        "events",
        types={name: _EVENT_TYPES.get(name, "String") for name in Event.__annotations__},
        known_by=(("message_id", str), ("id", str), ("receipt", str)),
    ),
    Target(Outbox.RECEIPTS, "receipt_parts", known_by=(("receipt", str), ("places", list))),
    Target(Outbox.ANSWERED, "answered_posts"),
    DEAD_LETTERS,
    Target(Outbox.LOSSES, "losses"),
)
"""In the order in which they are written. Lifecycles, suppressions and statistics are made of the events."""
