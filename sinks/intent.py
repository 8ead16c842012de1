"""Delivery to a store outside of Kafka, exactly once: the intent is written down before the deed.

1. *Intend*: commit the unchanged offset with the bounds of the block in the commit's metadata. The same request commits
   what the previous round delivered.
2. *Write* the block under a name that is made of its bounds and the log's epoch.
3. *Commit* past it: with the next round's intent, or by `settle` when nothing follows.

Whoever takes the partition over after a crash finds one of two things: an offset without an intent, then nothing of
what follows was written; or one with an intent, then it forms the block with exactly these bounds and writes it again
under the same name, and the store adds what is missing. Where the store says that it has more than Kafka knows of, the
chain is followed from there, and what the store has is passed over. Where the store was made anew, Kafka's position
means nothing: each position names the generation of the store that it is in. Where the store has not got what a
position says that it has, and nobody said that it was made anew, nothing is written: the rest would look like the
whole.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from sinks.block import Block
from sinks.destination import Destination
from sinks.errors import UnreachableError
from sinks.group import OutboxGroup
from sinks.metrics import Instruments
from sinks.position import Bounds, Position
from sinks.retry import Pauses
from sinks.settings import ReadingSettings
from sinks.writer import BlockWriter

logger = logging.getLogger(__name__)


class IntentDelivery:
    """A `sinks.delivery.Delivery` to a `BlockWriter`."""

    def __init__(
        self,
        *,
        group: OutboxGroup,
        writer: BlockWriter,
        settings: ReadingSettings,
        concurrency: int,
        instruments: Instruments,
    ) -> None:
        """Prepare the delivery; ``concurrency`` blocks are written at a time."""
        self._group = group
        self._writer = writer
        self._settings = settings
        self._instruments = instruments
        self._slots = asyncio.Semaphore(concurrency)
        self._generations: dict[int, int] = {}
        """Of the store, as of each partition's takeover."""
        self._reached: dict[int, tuple[str, int] | None] = {}
        """How far the store is known to have come: see `Position.reached`."""
        self._written: dict[int, Position] = {}
        """Positions behind blocks that are written and not committed."""
        self._committing = asyncio.Lock()
        self._store = Destination()

    @property
    def is_waiting(self) -> bool:
        """Tell whether the store is waited for."""
        return self._store.is_waited_for

    async def open(self, partition: int) -> Position | None:
        """Read the group's position. Where it is forgotten or behind the store, the store's chain counts.

        Raises:
            UnreachableError: Kafka or the store does not answer, or the store lost what it had.
        """
        with self._store.asked():
            known = await self._writer.open(partition)
        self._generations[partition] = known.generation
        committed = (await self._group.committed([partition])).get(partition)
        if committed is not None and known.has_lost(committed):
            self._store.lacks()
            raise UnreachableError(
                f"the tables lack something of partition {partition}, which was delivered up to stamp"
                f" {committed.stamp}: they were emptied or brought back from an older copy, or it is another"
                " database. Nothing is written until `todoke rebuild` has brought everything again"
            )
        if committed is not None and committed.generation != known.generation:
            logger.info("Partition %d: the store was made anew and gets everything again", partition)
            committed = None
        self._reached[partition] = None if committed is None else committed.reached
        stored = known.position
        if stored is None or (committed is not None and not _is_behind(committed, stored)):
            return committed
        offset = 0 if committed is None else committed.offset
        logger.info(
            "Partition %d is read from offset %d on; what the store has of it, up to stamp %s, is recognised",
            partition,
            offset,
            stored.stamp,
        )
        return replace(stored, offset=offset, intent=None, known=known.reached)

    async def report(self, partition: int, hole: Bounds) -> None:
        """Write the hole down in the store."""
        await self._insist(lambda: self._writer.report(partition, hole))

    async def deliver(self, blocks: Sequence[Block]) -> None:
        """Intend, write, and leave the commit to what follows."""
        # 1. Intend
        async with self._committing:
            intents = {block.partition: block.before for block in blocks if block.records}
            await self._commit({**self._written, **intents})
            self._written.clear()
        # 2. Write
        try:
            async with asyncio.TaskGroup() as group:
                for block in blocks:
                    group.create_task(self._write(block))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _write(self, block: Block) -> None:
        async with self._slots:
            if block.records:
                await self._insist(lambda: self._writer.write(block))
                if block.after.stamp is not None:
                    self._reached[block.partition] = (block.epoch, block.after.stamp)
        self._written[block.partition] = block.after

    async def settle(self) -> None:
        """Commit past what is written."""
        # 3. Commit
        async with self._committing:
            await self._commit(self._written)
            self._written.clear()

    async def release(self, partitions: Collection[int]) -> None:
        """Forget what is not committed: the next owner repeats it."""
        self._store.forget()
        for partition in partitions:
            self._written.pop(partition, None)

    async def _commit(self, positions: Mapping[int, Position]) -> None:
        await self._group.commit(
            {
                partition: replace(
                    position, generation=self._generations[partition], reached=self._reached.get(partition)
                )
                for partition, position in positions.items()
            }
        )

    async def _insist(self, step: Callable[[], Awaitable[None]]) -> None:
        with self._store.asked():
            await self._repeat(step)

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        pauses = Pauses(self._settings.retry_pause, self._settings.retry_pause_limit)
        while True:
            try:
                await step()
            except UnreachableError as error:
                pause = pauses.next()
                logger.warning("%s; trying again in %.1f s", error, pause)
                self._instruments.failed()
                await asyncio.sleep(pause)
            else:
                self._instruments.recovered()
                return


def _is_behind(committed: Position, stored: Position) -> bool:
    """Tell whether the store has blocks that Kafka knows nothing of.

    So it is after a crash between the last write of a block and the commit, and where positions were lost or set back.
    """
    if committed.stamp is None:
        return True
    return committed.epoch == stored.epoch and stored.stamp is not None and stored.stamp > committed.stamp
