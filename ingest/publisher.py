"""How chunks become durable: the one place of ingest that knows Kafka."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from streams.contracts.clock import Deadline
from streams.contracts.codec import compressed, form_header
from streams.contracts.compression import Compression
from streams.contracts.errors import ConfigurationError, PublishError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import CHUNK_LIMIT, Topic

logger = logging.getLogger(__name__)

REQUEST_LIMIT = CHUNK_LIMIT + 100_000
"""Bytes of one request: a chunk and what Kafka puts around it. Brokers take 1 MiB unless told otherwise."""

ABORT_WITHIN = 1.0
"""Seconds that the last request under way has for failing, when there is no time left to wait for its success."""


class ChunkRefusedError(PublishError):
    """Kafka refuses a chunk as it is, and may go on doing so until somebody changes the topic or the rights to it."""


class Publisher(Protocol):
    """Puts chunks into the log of their shard.

    `publish` waits as long as it takes, and the caller decides how long it cares. It may be called again before it
    returned; chunks of one shard are then stored in the order of the calls.
    """

    @property
    def shards(self) -> int:
        """How many shards there are, from 0; known once started."""
        ...

    async def start(self) -> None:
        """Connect.

        Raises:
            PublishError: Kafka cannot be reached.
            ConfigurationError: the topic is not there.
        """
        ...

    async def publish(self, shard: int, value: bytes) -> None:
        """Return once the chunk is durable: acknowledged by all replicas in sync.

        Raises:
            ChunkRefusedError: it is not stored, and may never be.
            PublishError: it may be stored or not.
        """
        ...

    async def is_reachable(self) -> bool:
        """Tell whether Kafka answers just now; never raises, may take a while."""
        ...

    async def stop(self, deadline: Deadline) -> None:
        """Give up what is under way and release everything; whoever still waits in `publish` gets an error."""
        ...


class KafkaPublisher:
    """Publishes to the partitions of one topic with an idempotent producer.

    Such a producer never gives a record up by itself: it sends it again until Kafka answers, in order and without
    storing it twice. Only an answer that no repetition can change ends it, e.g. when the broker has lost its data and
    with it the producer's place in it; then a new producer takes over.
    """

    def __init__(
        self,
        *,
        kafka: KafkaConnection,
        topic: Topic,
        compression: Compression,
        request_timeout: float = 10.0,
    ) -> None:
        """Describe the publisher; nothing happens before `start`.

        Args:
            kafka: where.
            topic: the inbox, which must exist.
            compression: of the chunks.
            request_timeout: seconds after which an unanswered request is made again on a new connection.
        """
        self._kafka = kafka
        self._topic = topic.name
        self._timeout = request_timeout
        self._compression = compression
        self._producer: AIOKafkaProducer | None = None
        self._renewing = asyncio.Lock()
        self._ended: asyncio.Future[None] | None = None  # done once the present producer acknowledges nothing any more
        self._shards = 0

    @property
    def shards(self) -> int:
        """How many partitions the topic had at the start."""
        return self._shards

    async def start(self) -> None:
        """Connect and look at the topic."""
        producer = self._make()
        try:
            await producer.start()
            cluster = await producer.client.fetch_all_metadata()  # asking for one topic might create it
        except (KafkaError, OSError) as error:
            await _end(producer, 0.0)
            raise PublishError(
                f"Kafka at {self._kafka.bootstrap_servers} cannot be reached ({error}): check kafka.bootstrap_servers "
                f"and that it runs"
            ) from error
        partitions = cluster.partitions_for_topic(self._topic)
        if not partitions:
            await _end(producer, 0.0)
            raise ConfigurationError(f"Kafka has no topic {self._topic}: run `todoke topics` to create it")
        self._shards = len(partitions)
        self._producer = producer
        self._ended = asyncio.get_running_loop().create_future()

    async def publish(self, shard: int, value: bytes) -> None:
        """Send the chunk to the partition of its shard and wait for the acknowledgement."""
        producer, ended = self._producer, self._ended
        if producer is None or ended is None:
            raise PublishError("the publisher is not started, or was stopped")
        written = compressed(value, self._compression, CHUNK_LIMIT)
        form = form_header(written)
        sending = asyncio.ensure_future(producer.send_and_wait(self._topic, written, partition=shard, headers=[form]))
        await asyncio.wait({sending, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            sending.cancel()
            raise PublishError(f"the producer was ended before Kafka acknowledged a chunk of shard {shard}")
        try:
            sending.result()
        except KafkaError as error:
            if _may_heal(error):
                raise PublishError(f"Kafka did not take a chunk of shard {shard}: {error!r}") from error
            await self._renew(producer, ended, error)
            raise ChunkRefusedError(f"Kafka refused a chunk of shard {shard} for good: {error!r}") from error

    async def is_reachable(self) -> bool:
        """Ask any broker for the cluster's metadata."""
        producer = self._producer
        if producer is None:
            return False
        try:
            async with asyncio.timeout(self._timeout):
                return bool(await producer.client.force_metadata_update())
        except (KafkaError, OSError, TimeoutError):
            return False

    async def stop(self, deadline: Deadline) -> None:
        """End the producer."""
        producer, self._producer = self._producer, None
        if producer is None or self._ended is None:
            return
        self._ended.set_result(None)
        await _end(producer, deadline.remaining())

    def _make(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._kafka.client_options(),
            client_id="todoke-ingest",
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=int(self._timeout * 1000),
            max_request_size=REQUEST_LIMIT,
            max_batch_size=REQUEST_LIMIT,
            retry_backoff_ms=200,
        )

    async def _renew(self, broken: AIOKafkaProducer, ended: asyncio.Future[None], error: KafkaError) -> None:
        """Put a new producer in the place of one whose chunk was refused for good."""
        async with self._renewing:
            if self._producer is not broken:
                return
            logger.error("Kafka refused a chunk for good, going on with a new producer: %r", error)
            fresh = self._make()
            try:
                await fresh.start()
            except (KafkaError, OSError):
                await _end(fresh, 0.0)
                return  # the broken one refuses the next chunk too, and this is tried again
            if self._producer is not broken:  # stopped meanwhile
                await _end(fresh, 0.0)
                return
            self._producer, self._ended = fresh, asyncio.get_running_loop().create_future()
            try:
                await _end(broken, 0.0)
            finally:
                ended.set_result(None)  # aiokafka leaves whoever still waits behind the broken one waiting for ever


def _may_heal(error: KafkaError) -> bool:
    # aiokafka does not call its own time-out retriable; it only means that a chunk before this one still waits.
    return bool(error.retriable) or isinstance(error, KafkaTimeoutError)


async def _end(producer: AIOKafkaProducer, patience: float) -> None:
    """Close a producer, which by itself would wait for Kafka as long as that is away.

    Args:
        producer: started or not.
        patience: seconds that it may take for what it still holds.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await producer.flush()
            await producer.stop()
            return
    # There is no public way to give up what was not acknowledged. The order matters: without its client, the sender
    # would wait for ever.
    producer._closed = True  # noqa: SLF001
    await asyncio.wait({asyncio.ensure_future(producer._sender.close())}, timeout=patience + ABORT_WITHIN)  # noqa: SLF001
    await producer.client.close()


class MemoryPublisher:
    """Keeps chunks in memory, for trying out and for tests; can be told to hold them back or to refuse them."""

    def __init__(self, *, shards: int = 4) -> None:
        """Begin empty.

        Args:
            shards: how many there are.
        """
        self._shards = shards
        self._open = asyncio.Event()
        self._open.set()
        self._stopped = False
        self.refuses = False
        """Every chunk is refused."""
        self.stored: defaultdict[int, list[bytes]] = defaultdict(list)
        """Chunks by shard, in the order in which they were stored."""
        self.begun = 0
        """Chunks that were handed over, stored or not."""

    @property
    def shards(self) -> int:
        """As told."""
        return self._shards

    def hold(self) -> None:
        """Acknowledge nothing until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Store and acknowledge what was held back, and everything from now on."""
        self._open.set()

    async def start(self) -> None:
        """Nothing to do."""

    async def publish(self, shard: int, value: bytes) -> None:
        """Store the chunk, now or when released."""
        self.begun += 1
        await self._open.wait()
        if self._stopped:
            raise PublishError("the publisher is stopped")
        if self.refuses:
            raise ChunkRefusedError("told to refuse")
        self.stored[shard].append(value)

    async def is_reachable(self) -> bool:
        """Tell whether a chunk would be stored now."""
        return self._open.is_set() and not self.refuses and not self._stopped

    async def stop(self, deadline: Deadline) -> None:  # noqa: ARG002 - nothing takes time here
        """Fail what is held back."""
        self._stopped = True
        self._open.set()
