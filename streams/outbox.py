"""Writing the outbox: in order, several records under way, and every record at the offset where it must be."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from streams.contracts.codec import compressed, form_header
from streams.contracts.errors import PublishError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import OUTBOX_LIMIT
from streams.settings import WorkerSettings

logger = logging.getLogger(__name__)


class ForeignRecordError(PublishError):
    """A record stands in the outbox that this worker did not write, so what it knows of the partition is too old."""


CLOSE_SECONDS = 5.0
"""How long to wait for the fate of what is under way. Kafka may be away, and then it takes as long as that."""

ABANDON_SECONDS = 1.0
"""How long each part of a producer that could not be closed has for ending."""


def _create_producer(connection: KafkaConnection, settings: WorkerSettings) -> AIOKafkaProducer:
    # An idempotent producer tries again for as long as it takes, and never writes a record twice.
    return AIOKafkaProducer(
        **connection.client_options(),
        acks="all",
        enable_idempotence=True,
        max_request_size=OUTBOX_LIMIT,
        request_timeout_ms=int(settings.request_timeout * 1000),
    )


class OutboxEnd:
    """The end of one outbox partition, as a worker has found it and goes on writing it.

    Kafka tells the offset of every record that it took. As long as nobody else writes, they follow each other without a
    gap from the end that was found when the state was loaded. Any other offset, and any failure, ends this object's
    life: nothing more is written through it, and the state that led to it must be loaded again.

    Each has a producer of its own: Kafka numbers what an idempotent producer sends, and after a refused record the
    numbers do not fit any more. It also lets partitions have requests under way at the same time, where aiokafka has
    one a producer and broker.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        settings: WorkerSettings,
        *,
        topic: str,
        partition: int,
        end: int,
        acknowledged: Callable[[], None],
        failed: Callable[[PublishError], None],
    ) -> None:
        """Go on at an end.

        Args:
            connection: to Kafka.
            settings: of the worker.
            topic: of the outbox.
            partition: in it.
            end: the offset that the next record must get.
            acknowledged: called after each acknowledgement.
            failed: called once, when this object's life ends by a failure.
        """
        self._producer = _create_producer(connection, settings)
        self._topic = topic
        self._partition = partition
        self._end = end
        self._in_flight = settings.in_flight
        self._compression = settings.compression
        self._tell_acknowledged = acknowledged
        self._tell_failed = failed
        self._waiting: deque[tuple[int, int | None, bytes]] = deque()
        self._sent: set[asyncio.Future[RecordMetadata]] = set()
        self._changed = asyncio.Event()
        self._broken = False
        self._last_stamp: int | None = None
        self._sender: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            KafkaError: no answer.
        """
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        self._sender = asyncio.create_task(self._send_all(), name=f"outbox {self._partition}")

    @property
    def end(self) -> int:
        """The offset that the next record must get."""
        return self._end

    @property
    def last_stamp(self) -> int | None:
        """The stamp of the last answer that Kafka acknowledged."""
        return self._last_stamp

    @property
    def pending(self) -> int:
        """How many records wait for their acknowledgement."""
        return len(self._waiting) + len(self._sent)

    async def room(self) -> bool:
        """Return as soon as one more record may be written; tell whether it still may."""
        while not self._broken and self.pending >= self._in_flight:
            await self._next_change()
        return not self._broken

    def append(self, value: bytes, stamp: int | None = None) -> None:
        """Write a record behind all the others. What becomes of it is told by the callbacks.

        Args:
            value: of the record.
            stamp: the inbox offset that it answers; ``None`` if it answers nothing, so that nothing has come further.
        """
        if self._broken:
            return
        self._waiting.append((self._end, stamp, value))
        self._end += 1
        self._notify()

    async def flushed(self) -> None:
        """Return when nothing waits for an acknowledgement any more, or this object's life has ended."""
        while not self._broken and self.pending:
            await self._next_change()

    async def close(self) -> None:
        """Write nothing more, and return when what is under way is decided, if that does not take long.

        What is decided later does no harm: by then its ``previous`` is not the last stamp any more, or it is the right
        answer after all.
        """
        self._broken = True
        self._waiting.clear()
        self._notify()
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._producer.stop()
        except TimeoutError:
            logger.warning("Shard %d: what became of the last outbox records is not known", self._partition)
            await self._abandon()

    async def _abandon(self) -> None:
        """Let go of a producer whose ``stop`` did not return: it waits for Kafka for as long as it takes."""
        parts: list[Callable[[], Awaitable[None]]] = [
            self._producer._sender.close,  # noqa: SLF001 - the parts of stop()
            self._producer.client.close,
        ]
        for close in parts:
            try:
                async with asyncio.timeout(ABANDON_SECONDS):
                    await close()
            except TimeoutError:
                logger.warning("Shard %d: a connection to Kafka is left for the system to close", self._partition)

    async def _send_all(self) -> None:
        while True:
            while not self._waiting:
                await self._next_change()
            offset, stamp, value = self._waiting[0]
            try:
                # Returns once the record before it has been handed to the network, so the order is kept.
                written = compressed(value, self._compression, OUTBOX_LIMIT)
                headers = [form_header(written)]
                sent = await self._producer.send(self._topic, written, partition=self._partition, headers=headers)
            except Exception as error:  # noqa: BLE001 - whatever it is, the record is not in the log by this object's will
                self._fail(PublishError(f"an outbox record cannot be sent: {error!r}"))
                return
            if self._waiting:
                self._waiting.popleft()
            self._sent.add(sent)
            sent.add_done_callback(partial(self._decided, offset, stamp))

    def _decided(self, offset: int, stamp: int | None, sent: asyncio.Future[RecordMetadata]) -> None:
        self._sent.discard(sent)
        if sent.cancelled():
            self._fail(PublishError("sending to the outbox was given up"))
        elif (error := sent.exception()) is not None:
            self._fail(PublishError(f"Kafka did not take an outbox record: {error!r}"))
        elif (found := sent.result().offset) != offset:
            self._fail(ForeignRecordError(f"an outbox record got the offset {found} instead of {offset}"))
        elif not self._broken:
            self._last_stamp = self._last_stamp if stamp is None else stamp
            self._tell_acknowledged()
        self._notify()

    def _fail(self, error: PublishError) -> None:
        if not self._broken:
            self._broken = True
            self._waiting.clear()
            self._tell_failed(error)
        self._notify()

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
