"""All partitions that a worker has at the moment, and the watch over them."""

import asyncio
import logging
from collections.abc import Collection
from typing import Any

from aiokafka.errors import KafkaError

from streams.inbox import InboxRecord
from streams.log import Log
from streams.shard import Shard
from streams.surroundings import Surroundings

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Between two looks how far the inbox goes."""

HAND_OVER_SECONDS = 5.0
"""How long a rebalance is held up at most for answers that are under way; later ones are found to be foreign."""


class Shards:
    """The partitions that the consumer group has given to this worker."""

    def __init__(self) -> None:
        self._shards: dict[int, Shard] = {}
        self._changed = asyncio.Event()
        self._assigned = asyncio.Event()
        self._closed = False

    def changed(self) -> None:
        """Wake who waits for progress."""
        self._changed.set()

    async def assign(self, partitions: Collection[int], surroundings: Surroundings) -> None:
        """Have exactly these partitions from now on."""
        if self._closed:
            return
        gone = [self._shards.pop(number) for number in self._shards.keys() - set(partitions)]
        # Together, since the group waits, and each may take a while where Kafka does not answer.
        await asyncio.gather(*(shard.close() for shard in gone))
        for number in partitions:
            if number in self._shards:
                self._shards[number].resume()
            else:
                self._shards[number] = Shard(number, surroundings)
        logger.info("Assigned shards: %s", sorted(partitions))
        self._assigned.set()
        self._changed.set()

    async def suspend(self) -> None:
        """Stop working until the next assignment, with everything that was answered durable if that goes quickly."""
        try:
            async with asyncio.timeout(HAND_OVER_SECONDS):
                await asyncio.gather(*(shard.suspend() for shard in self._shards.values()))
        except TimeoutError:
            logger.warning("Partitions are handed over with answers under way")

    async def take(self, record: InboxRecord) -> None:
        """Hand a record to its shard, if it is here."""
        shard = self._shards.get(record.shard)
        if shard is not None:
            await shard.take(record)

    def position(self, partition: int) -> int | None:
        """Tell the inbox offset to be read next; ``None`` while a partition is not here or not ready for any."""
        shard = self._shards.get(partition)
        return None if shard is None else shard.position

    def answered(self) -> dict[int, int]:
        """Tell for each partition where it is known the offset up to which (exclusive) all answers are durable."""
        return {number: answered for number, shard in self._shards.items() if (answered := shard.answered) is not None}

    async def until_assigned(self) -> None:
        """Return after the first assignment, even of nothing."""
        await self._assigned.wait()

    async def until_idle(self, log: Log, topic: str) -> None:
        """Return when all that stood in the assigned partitions of the inbox is answered durably."""
        await self.until_assigned()
        ends: dict[int, int] = {}
        while True:
            new = self._shards.keys() - ends.keys()
            ends |= {number: extent.end for number, extent in (await log.extents(topic, new)).items()}
            self._changed.clear()
            answered = self.answered()
            if new <= ends.keys() and all(answered.get(number, -1) >= ends[number] for number in self._shards):
                return
            await self._changed.wait()

    async def watch(self, log: Log, topic: str) -> None:
        """Look again and again how far the inbox goes, and tell every shard."""
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            positions = {number: shard.position for number, shard in self._shards.items()}
            try:
                extents = await log.extents(topic, positions)
            except KafkaError as error:
                logger.debug("Kafka does not tell how far the inbox goes: %r", error)
                looked = loop.time()
                continue
            now = loop.time()
            for number, extent in extents.items():
                if number in self._shards:
                    self._shards[number].observe(extent, positions[number], now - looked)
            looked = now

    async def close(self) -> None:
        """Let go of everything, for good."""
        self._closed = True
        await asyncio.gather(*(shard.close() for shard in self._shards.values()))
        self._shards.clear()

    def report(self) -> dict[str, Any]:
        """Tell people where each shard is."""
        return {str(number): shard.report() for number, shard in sorted(self._shards.items())}

    @property
    def ready(self) -> bool:
        """Whether an assignment was made and all of it is loaded."""
        return self._assigned.is_set() and all(shard.position is not None for shard in self._shards.values())
