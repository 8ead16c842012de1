"""Reading Kafka's logs by offset, apart from any consumer group: how far they go, and what stands in them."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import ConsumerRecord

from streams.contracts.errors import TodokeError
from streams.contracts.kafka import KafkaConnection

FETCH_BYTES = 32 * 1024 * 1024
"""Bytes that one fetch may bring: some records of the largest size."""


class KafkaUnreachableError(TodokeError):
    """No broker answers."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Extent:
    """How far one partition's log goes: the offset of its first record and the offset that its next one will get."""

    begin: int
    end: int


class Log:
    """A reader of any partition."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._client = self._consumer()

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaUnreachableError: no broker answers.
        """
        try:
            await self._client.start()
        except KafkaConnectionError as error:
            await self._client.stop()
            raise KafkaUnreachableError(
                f"Kafka does not answer at {self._connection.bootstrap_servers}: start it, or correct the address"
            ) from error

    async def stop(self) -> None:
        """Disconnect."""
        await self._client.stop()

    async def partitions(self, topic: str) -> int:
        """Count the partitions of a topic; 0 where there is no such topic.

        Raises:
            KafkaError: no answer.
        """
        cluster = await self._client._client.fetch_all_metadata()  # noqa: SLF001 - consumers only know what they read
        return len(cluster.partitions_for_topic(topic) or ())

    async def extents(self, topic: str, partitions: Iterable[int]) -> dict[int, Extent]:
        """Tell how far partitions go.

        Raises:
            KafkaError: no answer.
        """
        wanted = [TopicPartition(topic, partition) for partition in partitions]
        if not wanted:
            return {}
        begins = await self._client.beginning_offsets(wanted)
        ends = await self._client.end_offsets(wanted)
        return {tp.partition: Extent(begins[tp], ends[tp]) for tp in wanted}

    async def extent(self, topic: str, partition: int) -> Extent:
        """Tell how far one partition goes.

        Raises:
            KafkaError: no answer.
        """
        return (await self.extents(topic, [partition]))[partition]

    async def first_since(self, topic: str, partition: int, milliseconds: int) -> int | None:
        """Tell the offset of the first record written at or after a time (since 1970), ``None`` if there is none.

        Raises:
            KafkaError: no answer.
        """
        tp = TopicPartition(topic, partition)
        found = (await self._client.offsets_for_times({tp: max(0, milliseconds)}))[tp]
        return None if found is None else found.offset

    async def goes_on_at(self, topic: str, partition: int, offset: int) -> int:
        """Tell the offset of the first record at or behind an offset, or the log's end if there is no such record.

        Raises:
            KafkaError: no answer.
        """
        extent = await self.extent(topic, partition)
        start = max(offset, extent.begin)
        async for record in self.read(topic, partition, start, extent.end):
            return int(record.offset)
        return max(start, extent.end)

    async def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> AsyncIterator[ConsumerRecord[bytes, bytes]]:
        """Read the records of a partition from ``start`` up to but not including ``end``.

        Raises:
            KafkaError: no answer.
        """
        if start >= end:
            return
        tp = TopicPartition(topic, partition)
        async with self._reader(tp, start) as consumer:
            while await consumer.position(tp) < end:
                records = (await consumer.getmany(tp, timeout_ms=1000)).get(tp, ())
                for record in records:
                    if record.offset >= end:
                        return
                    yield record
                if not records:
                    # The log may have been cut meanwhile.
                    end = min(end, (await self.extent(topic, partition)).end)

    @asynccontextmanager
    async def _reader(self, tp: TopicPartition, start: int) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = self._consumer()
        try:
            await consumer.start()
            consumer.assign([tp])
            consumer.seek(tp, start)
            yield consumer
        finally:
            await consumer.stop()

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._connection.client_options(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=100,
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
