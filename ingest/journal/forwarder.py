"""From the journal into Kafka: complete chunks, of each shard one after the other."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from ingest.alarms import Alarm
from ingest.journal.entries import Chunk
from ingest.journal.filling import joined
from ingest.publisher import ChunkRefusedError, Publisher
from streams.contracts.clock import Clock
from streams.contracts.errors import PublishError

logger = logging.getLogger(__name__)

AGAIN_AFTER = 1.0
"""Seconds until something is tried again that Kafka or the disk refused."""


class Forwarder:
    """Sends every chunk until Kafka has acknowledged it. Of each shard one is in memory at a time.

    None is ever left out: a chunk that Kafka refuses for good holds its shard up until somebody has mended that, and
    the log says so.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        read: Callable[[Chunk], Awaitable[Sequence[bytes]]],
        sent: Callable[[Chunk], None],
        clock: Clock,
    ) -> None:
        """Describe it; nothing happens before `start`.

        Args:
            publisher: into Kafka. Until it is started everything waits.
            read: gives the contents of a chunk, records for the inbox.
            sent: called when a chunk was acknowledged.
            clock: tells the time.
        """
        self._publisher = publisher
        self._read = read
        self._sent = sent
        self._queues: Sequence[asyncio.Queue[Chunk]] = ()
        self._waiting: Counter[int] = Counter()
        self._alarm = Alarm(
            logger,
            "%s: it stays in the journal and is sent again, and what is behind it in its shard waits; %d times since "
            "the last warning",
            clock,
        )
        self.tasks: Sequence[asyncio.Task[None]] = ()
        """What runs, for ever."""

    def start(self, shards: int) -> None:
        """Begin."""
        self._queues = [asyncio.Queue() for _ in range(shards)]
        self.tasks = [asyncio.create_task(self._keep_sending(queue)) for queue in self._queues]

    async def stop(self) -> None:
        """Give up what is under way, whatever becomes of it."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def put(self, chunk: Chunk) -> None:
        """Have a chunk sent behind the others of its shard."""
        self._waiting[chunk.shard] += 1
        self._queues[chunk.shard].put_nowait(chunk)

    def is_busy(self, shard: int) -> bool:
        """Tell whether a shard has chunks that are not acknowledged."""
        return self._waiting[shard] > 0

    async def _keep_sending(self, queue: asyncio.Queue[Chunk]) -> None:
        while True:
            chunk = await queue.get()
            await self._send(chunk.shard, joined(await self._read(chunk)))
            self._waiting[chunk.shard] -= 1
            self._sent(chunk)

    async def _send(self, shard: int, value: bytes) -> None:
        while True:
            try:
                await self._publisher.publish(shard, value)
            except ChunkRefusedError as error:
                self._alarm.ring(str(error))
                await asyncio.sleep(AGAIN_AFTER)
            except PublishError as error:
                logger.debug("a chunk stays in the journal, and is sent again: %s", error)
                await asyncio.sleep(AGAIN_AFTER)
            else:
                return
