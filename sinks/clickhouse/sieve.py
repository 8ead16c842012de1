"""Getting what ClickHouse takes of a block into the tables, and the rows that it refuses out of the way.

A section that is refused as a whole, since a row of it cannot be read or kept or since there is too much of it, is cut
in two, and each half again where it must be. What is left in the end is a single row that ClickHouse refuses by itself:
it goes to the dead letters, alone.

Each piece has a token of its own, made of the block's name and the piece's bounds, and that is only exact as long as no
row is ever given under two tokens that both count. Therefore a piece is cut only

1. when *nothing of it is in the table*: an attempt whose answer was lost, or that failed in a view, keeps its token
   (events and receipts, see `sinks.clickhouse.targets.Target.known_by`);
2. after *the decision is written down*: whoever repeats the block does not try again what was cut, and puts aside what
   was put aside, even if ClickHouse would take it by then.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

from sinks.block import Block
from sinks.breaker import Limits, Tally
from sinks.clickhouse.refusals import Decision, Decisions, Piece, dead_letter, receipt_of
from sinks.clickhouse.targets import DEAD_LETTERS, Target
from sinks.errors import PoisonError, RefusedError, TooLargeError
from streams.contracts.clock import Clock, rfc3339

logger = logging.getLogger(__name__)

SETTINGS = "sink.clickhouse"
"""The section in which the limits are set."""

MONTH = len("2026-03")

SMALL = 64 * 1024
"""Bytes of rows that are not too many for any server that is fit for use. Where even these are, an insert takes more
than the limits allow whatever is in it: to go on row by row would take hours, and fill the table with tiny parts."""


class Insert(Protocol):
    """Inserts lines into a table under a name: the same name again changes nothing."""

    async def __call__(self, table: str, lines: bytes, name: str, columns: Sequence[str] | None = None) -> None:
        """Insert.

        Raises:
            PoisonError: a row is refused.
            TooLargeError: the rows are too many at a time.
        """


@dataclass(slots=True)
class Shard:
    """What a writer knows of one partition from its takeover on."""

    generation: int
    """Of the tables; what earlier ones were given does not count in this one."""
    decisions: Decisions
    tally: Tally
    """As of the last block that is written whole."""
    latest: int
    """The latest time that a block was given, in microseconds since 1970."""

    @property
    def suffix(self) -> str:
        """What tells this generation's names from others'."""
        return f":{self.generation}" if self.generation else ""

    def name(self, block: Block) -> str:
        """Name a block in this generation."""
        return f"{block.name}{self.suffix}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sieve:
    """One block on its way into the tables."""

    block: Block
    shard: Shard
    tally: Tally
    """Is counted on."""
    limits: Limits
    inbox: str
    clock: Clock
    insert: Insert
    is_there: Callable[[Target, Mapping[str, Any]], Awaitable[bool]]
    """Tells whether a line is in the table, by the parameters of `Target.condition`."""
    put_aside: Callable[[], None]
    """Is told of each row that is refused."""

    async def store(self, target: Target, lines: bytes) -> None:
        """Insert a section; whole, if ClickHouse takes it.

        Raises:
            BreakerError: too many rows are refused.
            RefusedError: rows are refused that are there already, or too large although they are few.
            TodokeError: as `Insert`.
        """
        if self.shard.decisions.concern(self.block, target.table):
            rows = lines.splitlines(keepends=True)
            await self._store_pieces(target, rows, Piece(0, len(rows)))
            return
        try:
            await self.insert(target.table, lines, self.shard.name(self.block), target.columns)
        except (PoisonError, TooLargeError) as error:
            rows = lines.splitlines(keepends=True)
            await self._refused(target, rows, Piece(0, len(rows)), error)
        else:
            self._took(target, self.block.events)

    async def _store_pieces(self, target: Target, rows: Sequence[bytes], piece: Piece) -> None:
        decision = self._decision(target, piece)
        if decision is not None:
            if decision.refused:
                self.tally.put_aside()
            await self._act(target, rows, decision)
            return
        try:
            lines = b"".join(rows[piece.begin : piece.end])
            await self.insert(target.table, lines, self._name(piece), target.columns)
        except (PoisonError, TooLargeError) as error:
            await self._refused(target, rows, piece, error)
        else:
            self._took(target, len(piece))

    async def _refused(
        self, target: Target, rows: Sequence[bytes], piece: Piece, error: PoisonError | TooLargeError
    ) -> None:
        """Decide what to do about a piece that was refused, and do it."""
        for line in _one_each_month(target, rows[piece.begin : piece.end]):
            if await self.is_there(target, line):
                raise RefusedError(
                    f"rows that came into the table {target.table} before are refused now, most likely by a"
                    " materialized view of it: mend or drop that view, or raise its limits, then start the sink again."
                    f" {error}"
                ) from error
        if isinstance(error, TooLargeError) and sum(map(len, rows[piece.begin : piece.end])) < SMALL:
            raise error
        if len(piece) > 1:
            decision = self._decide(target, piece, error)
        elif isinstance(error, PoisonError):
            what = f"a row of {target.table} by ClickHouse: {error.said}"
            self.tally.require(self.limits, partition=self.block.partition, what=what, setting=SETTINGS)
            self.tally.put_aside()
            self.put_aside()
            logger.error("Partition %d: to the dead letters goes %s", self.block.partition, what)
            decision = self._decide(target, piece, error, row=rows[piece.begin])
        else:
            raise error
        await self._act(target, rows, decision)

    def _took(self, target: Target, rows: int) -> None:
        """Count rows that are in. Only events end a run: every record has rows for other tables, too."""
        if target.table == "events":
            self.tally.took(rows)

    def _decide(
        self, target: Target, piece: Piece, error: PoisonError | TooLargeError, row: bytes | None = None
    ) -> Decision:
        decision = Decision(
            table=target.table,
            piece=piece,
            refused=row is not None,
            receipt=receipt_of(row or b""),
            detail=error.said,
            found_at=rfc3339(self.clock.now()),
        )
        self.shard.decisions.decide(self.block, decision)
        return decision

    async def _act(self, target: Target, rows: Sequence[bytes], decision: Decision) -> None:
        """Do as was decided, once that is written down."""
        await self.shard.decisions.write_down(self.block, decision, self._note)
        if not decision.refused:
            for half in decision.piece.halves():
                await self._store_pieces(target, rows, half)
            return
        row = rows[decision.piece.begin].rstrip(b"\n")
        letter = dead_letter(self.block, target.section, decision, row, topic=self.inbox, version=version("todoke"))
        name = f"{target.table}:{self._name(decision.piece)}"
        await self.insert(DEAD_LETTERS.table, letter, name, DEAD_LETTERS.columns)

    async def _note(self, line: bytes, name: str) -> None:
        await self.insert("refusals", line, f"{self.shard.name(self.block)}:{name}")

    def _decision(self, target: Target, piece: Piece) -> Decision | None:
        return self.shard.decisions.about(self.block, target.table, piece)

    def _name(self, piece: Piece) -> str:
        return f"{self.shard.name(self.block)}:{piece.begin}-{piece.end}"


def _one_each_month(target: Target, rows: Sequence[bytes]) -> Iterable[Mapping[str, Any]]:
    """Choose a line of each month: an insert gets into a table a month at a time, and each month whole or not.

    Views are filled behind the table, so they have nothing of what the table has nothing of.
    """
    chosen: dict[str, Mapping[str, Any]] = {}
    for row in rows if target.known_by else ():
        try:
            line = json.loads(row)
            chosen[line["received_at"][:MONTH]] = target.parameters(line)
        except (ValueError, KeyError, TypeError):
            continue  # such a row is in no table
    return chosen.values()
