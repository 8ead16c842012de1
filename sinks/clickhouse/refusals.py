"""What was decided about blocks that ClickHouse does not take as they are.

A decision is written down before anything is done by it. Whoever writes the block again, after a crash or after an
answer that got lost, finds the decisions and does the same with the same tokens, whatever ClickHouse thinks of the rows
by then: it may have been mended, or have more memory.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sinks.block import Block
from streams.contracts.dead_letter import DeadLetter, Reason, split

RECEIPT = re.compile(rb'"receipt":\s*"([0-9a-f]{32})"')
RECEIVED_AT = re.compile(rb'"received_at":\s*"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"')


@dataclass(frozen=True, order=True, slots=True)
class Piece:
    """Some consecutive rows that a block has for one table, counted from 0."""

    begin: int
    end: int
    """Behind the last one."""

    def __len__(self) -> int:
        return self.end - self.begin

    def halves(self) -> tuple[Self, Self]:
        """Cut it in two."""
        middle = (self.begin + self.end) // 2
        return type(self)(self.begin, middle), type(self)(middle, self.end)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """That a piece is cut in two, or, of a single row, that it is put aside."""

    table: str
    piece: Piece
    refused: bool
    """The row is put aside."""
    receipt: str
    """Of the event that is put aside; empty where it is none."""
    detail: str
    """What ClickHouse says."""
    found_at: str

    def line(self, block: Block) -> bytes:
        """Write the row of the table ``refusals``."""
        row = {
            "shard": block.partition,
            "epoch": block.epoch,
            "first": block.bounds.first,
            "last": block.bounds.last,
            "target": self.table,
            "begin_row": self.piece.begin,
            "end_row": self.piece.end,
            "refused": self.refused,
            "receipt": self.receipt,
            "detail": self.detail,
            "found_at": self.found_at,
        }
        return json.dumps(row, ensure_ascii=False).encode()


class Decisions:
    """About the blocks of one partition that are not written whole."""

    QUERY = """
        select first, last, epoch, target, begin_row, end_row, refused, receipt, detail, toString(found_at)
        from refusals
        where shard = {shard:UInt32} and not (epoch = {epoch:String} and last < {last:Int64})
    """

    def __init__(self, partition: int, rows: Iterable[Sequence[Any]] = ()) -> None:
        """Begin with what is written down: rows of `QUERY`."""
        self._found: dict[tuple[str, str, Piece], Decision] = {}
        self._unsure: set[tuple[str, str, Piece]] = set()
        """Made here, and it is not known whether they are written down."""
        for first, last, epoch, table, begin, end, refused, receipt, detail, found_at in rows:
            piece = Piece(begin, end)
            self._found[f"{partition}:{first}-{last}:{epoch}", table, piece] = Decision(
                table=table, piece=piece, refused=refused, receipt=receipt, detail=detail, found_at=found_at
            )

    def about(self, block: Block, table: str, piece: Piece) -> Decision | None:
        """Tell what was decided."""
        return self._found.get((block.name, table, piece))

    def concern(self, block: Block, table: str) -> bool:
        """Tell whether anything was decided about the rows that a block has for a table."""
        return any(key[:2] == (block.name, table) for key in self._found)

    def decide(self, block: Block, decision: Decision) -> None:
        """Decide, once and for all."""
        key = (block.name, decision.table, decision.piece)
        self._found[key] = decision
        self._unsure.add(key)

    async def write_down(
        self, block: Block, decision: Decision, insert: Callable[[bytes, str], Awaitable[None]]
    ) -> None:
        """See to it that a decision is written down; to be done before anything is done by it.

        Args:
            block: about which it is.
            decision: which.
            insert: into the table, a line by a name that is the same for the same line.
        """
        key = (block.name, decision.table, decision.piece)
        if key in self._unsure:
            await insert(decision.line(block), f"{decision.table}:{decision.piece.begin}-{decision.piece.end}")
            self._unsure.discard(key)

    def forget(self, block: Block) -> None:
        """Forget what was decided about a block that is written whole."""
        for key in [key for key in self._found if key[0] == block.name]:
            del self._found[key]


def receipt_of(line: bytes) -> str:
    """Find the receipt that a row belongs to; empty where it tells none."""
    found = RECEIPT.search(line)
    return found[1].decode() if found else ""


def _received_at(line: bytes) -> str | None:
    found = RECEIVED_AT.search(line)
    return found[1].decode() if found else None


def dead_letter(block: Block, section: str, decision: Decision, line: bytes, *, topic: str, version: str) -> bytes:
    """Write the dead letter of a row that was put aside, in as many lines as it takes.

    Args:
        block: that had the row.
        section: of the outbox records it came in.
        decision: to put it aside.
        line: the row.
        topic: the inbox, which held what the row was made of.
        version: of todoke.
    """
    stamp, number = _origin(block, section, decision.piece.begin)
    letters = (
        DeadLetter(
            receipt=decision.receipt,
            number=number,
            part=part,
            parts=parts,
            source=_source(line),
            reason=Reason.ROW_REFUSED.value,
            detail=f"{decision.table}: {decision.detail}",
            topic=topic,
            partition=block.partition,
            offset=stamp,
            version=version,
            received_at=_received_at(line) or decision.found_at,
            raw_base64=raw,
        )
        for part, parts, raw in split(line)
    )
    return b"".join(json.dumps(letter, ensure_ascii=False).encode() + b"\n" for letter in letters)


def _origin(block: Block, section: str, row: int) -> tuple[int, int]:
    """Tell the inbox offset whose answer brought a row, and the row's number in it."""
    for stamp, rows in _rows(block, section):
        if row < rows:
            return stamp, row
        row -= rows
    raise IndexError(row)


def _rows(block: Block, section: str) -> Iterator[tuple[int, int]]:
    for record in block.records:
        yield record.header["stamp"], record.section(section).count(b"\n")


def _source(line: bytes) -> str:
    try:
        source = json.loads(line)["source"]
    except (ValueError, KeyError, TypeError):
        return ""
    return source if isinstance(source, str) else ""
