"""The seam to a store that takes blocks: what `sinks.intent` needs of it to be exact."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sinks.block import Block
from sinks.position import Bounds, Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What a store has of a partition."""

    generation: int = 0
    """How often the store was made anew."""
    position: Position | None = None
    """Behind the last block that was written whole, ``None`` where there is none. Only the chain is meant: the log may
    have been made anew, so reading begins at its beginning."""
    reached: Mapping[str, int] = field(default_factory=dict)
    """The last stamp of each epoch that was written: it never gets less, whatever is written late or once more."""

    def has_lost(self, committed: Position) -> bool:
        """Tell whether the store lacks blocks that were written according to a committed position.

        A store that was made anew on purpose is of a later generation; a block is noted in it before it is committed.
        """
        if committed.generation != self.generation:
            return committed.generation > self.generation
        if committed.reached is not None:
            epoch, stamp = committed.reached
            return epoch not in self.reached or self.reached[epoch] < stamp
        return committed.stamp is not None and self.position is None


class BlockWriter(Protocol):
    """A store in which a block is written once, however often it is given."""

    async def prepare(self) -> None:
        """Connect and make sure that blocks can be written.

        Raises:
            UnreachableError: the store does not answer.
            TodokeError: it is not set up for this version; the message says what to do.
        """
        ...

    async def write(self, block: Block) -> None:
        """Write all of a block, durably.

        Where a block of the same name was written before, in whole or in part, what is missing is added and nothing
        else happens. The same block may be given to several writers at the same time.

        Raises:
            UnreachableError: it may have been written in part; the same block again, later.
            RefusedError: the store would refuse it again.
            BreakerError: too much of it is refused.
        """
        ...

    async def report(self, partition: int, hole: Bounds) -> None:
        """Write down offsets of the outbox that were gone. The same hole counts once.

        Raises:
            As `write`.
        """
        ...

    async def open(self, partition: int) -> Stored:
        """Begin with a partition: whatever an earlier writer of it decided holds. Tell what there is of it.

        Raises:
            UnreachableError: the store does not answer.
        """
        ...

    async def close(self) -> None:
        """Disconnect. May be called twice."""
        ...


class MemoryWriter:
    """Keeps blocks in memory, for tests and for trying things out."""

    def __init__(self) -> None:
        self.blocks: dict[str, Block] = {}
        """By name, in the order in which they were first written."""
        self.losses: dict[tuple[int, Bounds], None] = {}

    async def prepare(self) -> None:
        """Nothing is needed."""

    async def write(self, block: Block) -> None:
        """Keep the block unless it is known."""
        self.blocks.setdefault(block.name, block)

    async def report(self, partition: int, hole: Bounds) -> None:
        """Keep the hole unless it is known."""
        self.losses.setdefault((partition, hole))

    async def open(self, partition: int) -> Stored:
        """Tell the position behind the last block of the partition."""
        blocks = [block for block in self.blocks.values() if block.partition == partition]
        reached: dict[str, int] = {}
        for block in blocks:
            if block.after.stamp is not None:
                reached[block.epoch] = max(reached.get(block.epoch, block.after.stamp), block.after.stamp)
        return Stored(position=blocks[-1].after if blocks else None, reached=reached)

    async def close(self) -> None:
        """Everything is kept: the next sink of a test finds it."""

    def lines(self, section: str) -> list[bytes]:
        """Give all lines of a section that were written."""
        return b"".join(block.section(section) for block in self.blocks.values()).splitlines()
