"""Where to go on in an outbox partition whose position Kafka has lost: behind what the public topics have of it.

1. *Read the end* of the partition's public partitions, what is committed and nothing else, backwards.
2. *Read the outbox partition* from its beginning to its end, by the chain, as the sink itself does.
3. The position stands behind the last record of which something was published, see `sinks.recognition`.

The caller must have shut out whoever else publishes the partition. So much is read at most: the last `TAIL` events and
dead letters, and the outbox once. Where several outbox partitions share a public one, and one of them has nothing among
the last, it is not recognised and begins at its start; so does one whose outbox was made anew.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from sinks.errors import UnreachableError
from sinks.partition import Limits, PartitionReader
from sinks.position import Position
from sinks.recognition import Identity, Recognition, event_identity, letter_identity
from sinks.settings import ReadingSettings
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import OUTBOX_LIMIT

TAIL = 10_000
"""Records of a public partition that are looked at, or somewhat more. The last one would do where no other outbox
partition writes there."""

PATIENCE = 10.0
"""Seconds without any progress after which Kafka counts as away. So it is, too, while somebody else's transaction is
open, which hides what was committed behind its beginning."""

ONE_EACH = Limits(bytes=1, events=1)


class Published:
    """Reads what was published of the outbox."""

    def __init__(self, kafka: KafkaConnection, inbox: str, settings: ReadingSettings) -> None:
        self._kafka = kafka
        self._inbox = inbox
        self._settings = settings

    async def position(
        self, outbox: TopicPartition, events: TopicPartition, dead_letters: TopicPartition
    ) -> tuple[bool, Position | None]:
        """Find the position behind what was published; tell, too, whether anything was.

        Args:
            outbox: the partition.
            events: where its events are published.
            dead_letters: where its dead letters are.

        Raises:
            UnreachableError: Kafka does not answer.
            LaterFormError: a later version of todoke wrote the outbox.
        """
        try:
            # 1. Read the end
            tail = await self._tail(events, lambda record: event_identity(record.value or b""))
            letters = await self._tail(
                dead_letters, lambda record: letter_identity(record.value or b"", record.headers)
            )
            if not tail and not letters:
                return False, None
            # 2. Read the outbox partition
            recognition = Recognition(outbox.partition, self._inbox, tail, letters)
            await self._follow(outbox, recognition)
        except KafkaError as error:
            raise UnreachableError(
                f"what was published of partition {outbox.partition} cannot be read: {error!r}"
            ) from error
        return True, recognition.position

    async def _tail(
        self, place: TopicPartition, identify: Callable[[ConsumerRecord[bytes, bytes]], Identity]
    ) -> list[Identity]:
        async with self._reading("read_uncommitted") as consumer:
            begin, high = await _extent(consumer, place)
        found: list[Identity] = []
        if begin == high:
            return found
        async with self._reading("read_committed") as consumer:
            while len(found) < TAIL and high > begin:
                low = max(begin, high - TAIL)
                found += [identify(record) async for record in _span(consumer, place, low, high)]
                high = low
        return found

    async def _follow(self, place: TopicPartition, recognition: Recognition) -> None:
        async with self._reading("read_uncommitted") as consumer:
            begin, end = await _extent(consumer, place)
            reader = PartitionReader(place.partition, Position(offset=0), ONE_EACH)
            reader.begin = begin
            async for record in _span(consumer, place, begin, end):
                reader.feed(record.offset, record.value or b"")
                while (block := reader.cut()) is not None:
                    for one in block.records:
                        recognition.take(one, block.after)

    @asynccontextmanager
    async def _reading(self, isolation: str) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._kafka.client_options(),
            isolation_level=isolation,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=self._settings.fetch_bytes,
            fetch_max_bytes=max(OUTBOX_LIMIT, 4 * self._settings.fetch_bytes),
        )
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()


async def _extent(consumer: AIOKafkaConsumer, place: TopicPartition) -> tuple[int, int]:
    begins, ends = await consumer.beginning_offsets([place]), await consumer.end_offsets([place])
    return begins[place], ends[place]


async def _span(
    consumer: AIOKafkaConsumer, place: TopicPartition, first: int, end: int
) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
    """Give the records from an offset up to another one; at the end there may be none."""
    consumer.assign([place])
    consumer.seek(place, first)  # at once: aiokafka would look for a position of its own
    clock = asyncio.get_running_loop().time
    at, since = first, clock()
    while at < end:
        for record in (await consumer.getmany(place, timeout_ms=200)).get(place, ()):
            if record.offset < end:
                yield record
        now_at = await consumer.position(place)
        if now_at != at:
            at, since = now_at, clock()
        elif clock() - since > PATIENCE:
            raise UnreachableError(
                f"partition {place.partition} of {place.topic} cannot be read from offset {at} to {end}: Kafka does"
                " not answer, or a transaction is open there"
            )
