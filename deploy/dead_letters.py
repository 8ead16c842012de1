"""Dead letters as they lie in ClickHouse: chosen, put together from their parts, and marked once they were replayed."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.span import ALL, Span
from deploy.tables import Tables, quoted

AT_A_TIME = 200
"""Letters that are held in memory at a time; one may have megabytes."""

NAMES = "receipt, number, topic, partition, offset"
CHOSEN = """
select distinct receipt, number, topic, partition, offset
from dead_letters
where part = 0 and {condition} and {not_replayed}
order by receipt, number, topic, partition, offset
"""
NOT_REPLAYED = """
(receipt, number, topic, partition, offset) not in (
    select receipt, number, topic, partition, offset from replays
)
"""
WHOLE = """
select
    receipt, number, topic, partition, offset,
    any(source) as source, any(reason) as reason, any(detail) as detail,
    any(parts) as parts,
    arrayMap(piece -> base64Encode(piece.2), arraySort(groupUniqArray((part, raw)))) as pieces
from dead_letters
where ({names}) in ({wanted})
group by {names}
order by {names}
"""

Name = tuple[str, int, str, int, int]
"""What names a letter: receipt, number, topic, partition, offset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which letters are meant."""

    reasons: Sequence[str] = ()
    sources: Sequence[str] = ()
    span: Span = ALL
    """By the time at which what is in them was received."""

    def condition(self) -> str:
        """Write it as SQL, without what was replayed before."""
        parts = [self.span.condition("received_at"), _among("reason", self.reasons), _among("source", self.sources)]
        return " and ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """One dead letter, whole."""

    name: Name
    source: str
    """Empty where the worker gave up on it."""
    reason: str
    detail: str
    """What was said of it when it came."""
    raw: bytes | None = field(repr=False)
    """``None`` where a part of it is not in the table."""


async def chosen(tables: Tables, selection: Selection, *, again: bool) -> list[Name]:
    """List the letters that a selection means, in the order of their names.

    Args:
        tables: the database.
        selection: which.
        again: those too that were replayed before.
    """
    not_replayed = "true" if again else NOT_REPLAYED
    query = CHOSEN.format(condition=selection.condition(), not_replayed=not_replayed)
    return [_name(row) for row in await tables.rows(query)]


async def letters(tables: Tables, names: Sequence[Name]) -> AsyncIterator[list[Letter]]:
    """Read letters, some at a time."""
    for begin in range(0, len(names), AT_A_TIME):
        wanted = ", ".join(map(_literal, names[begin : begin + AT_A_TIME]))
        rows = await tables.rows(WHOLE.format(names=NAMES, wanted=wanted))
        yield [_letter(row) for row in rows]


async def mark(tables: Tables, rows: Sequence[dict[str, Any]]) -> None:
    """Write down which letters were replayed, and as what."""
    await tables.insert("replays", b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def _letter(row: dict[str, Any]) -> Letter:
    pieces = [base64.b64decode(piece) for piece in row["pieces"]]
    whole = len(pieces) == row["parts"]
    return Letter(
        name=_name(row),
        source=row["source"],
        reason=row["reason"],
        detail=row["detail"],
        raw=b"".join(pieces) if whole else None,
    )


def _name(row: dict[str, Any]) -> Name:
    return (row["receipt"], row["number"], row["topic"], row["partition"], row["offset"])


def _literal(name: Name) -> str:
    receipt, number, topic, partition, offset = name
    return f"({quoted(receipt)}, {number}, {quoted(topic)}, {partition}, {offset})"


def _among(column: str, values: Sequence[str]) -> str:
    return f"{column} in ({', '.join(map(quoted, values))})" if values else ""
