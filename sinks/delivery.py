"""The seam between reading the outbox and bringing it somewhere."""

from collections.abc import Collection, Sequence
from typing import Protocol

from sinks.block import Block
from sinks.position import Bounds, Position


class Delivery(Protocol):
    """A destination together with the memory of what it has. One task at a time calls it, except for `release`."""

    @property
    def is_waiting(self) -> bool:
        """Tell whether it waits for something that may take any time and is no fault of this process."""
        ...

    async def open(self, partition: int) -> Position | None:
        """Take a partition over, and tell where to go on; ``None`` where nothing was ever delivered.

        Whatever a former owner still does afterwards must have no effect.

        Raises:
            TodokeError: it cannot be taken over.
        """
        ...

    async def report(self, partition: int, hole: Bounds) -> None:
        """Write down offsets that the log no longer held. The same hole may be reported again.

        Raises:
            As `deliver`.
        """
        ...

    async def deliver(self, blocks: Sequence[Block]) -> None:
        """Bring blocks, one per partition, to the destination; waits for one that does not answer, however long.

        Raises:
            HandedOverError: the partitions may belong to another sink; they must be opened again.
            TodokeError: the destination refuses the blocks for good.
        """
        ...

    async def settle(self) -> None:
        """Remember durably all that was delivered.

        Raises:
            HandedOverError: as in `deliver`.
        """
        ...

    async def release(self, partitions: Collection[int]) -> None:
        """Let partitions go. Never raises."""
        ...
