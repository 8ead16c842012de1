"""What every publisher promises, kept by the one in memory and by the one that writes to Kafka."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.embedded.kafka import EmbeddedKafka
from ingest.publisher import KafkaPublisher, MemoryPublisher, Publisher
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.compression import Compression
from streams.contracts.errors import PublishError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import CHUNK_LIMIT, topics

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHARDS = 3

Stored = Callable[[int], Awaitable[list[bytes]]]


def deadline(seconds: float = 5.0) -> Deadline:
    return Deadline(seconds, SystemClock())


@pytest_asyncio.fixture(loop_scope="session", params=["memory", "kafka"])
async def pair(
    request: pytest.FixtureRequest, kafka: EmbeddedKafka, topic_prefix: str
) -> AsyncIterator[tuple[Publisher, Stored]]:
    """A publisher that was started, and how to see what it has stored."""
    if request.param == "memory":
        memory = MemoryPublisher(shards=SHARDS)
        await memory.start()

        async def in_memory(shard: int) -> list[bytes]:
            return memory.stored[shard]

        yield memory, in_memory
        await memory.stop(deadline())
        return
    topic = topics(topic_prefix).inbox
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic.name, SHARDS, 1)])
    await admin.close()
    publisher = KafkaPublisher(
        kafka=KafkaConnection(bootstrap_servers=kafka.bootstrap_servers), topic=topic, compression=Compression.ZSTD
    )
    await publisher.start()

    async def in_kafka(shard: int) -> list[bytes]:
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, max_partition_fetch_bytes=2**24)
        await consumer.start()
        try:
            partition = TopicPartition(topic.name, shard)
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            (end,) = (await consumer.end_offsets([partition])).values()
            values = []
            while await consumer.position(partition) < end:
                record = await consumer.getone(partition)
                assert record.headers == (("form", b"record/1"),)
                values.append(bytes(record.value or b""))
            return values
        finally:
            await consumer.stop()

    yield publisher, in_kafka
    await publisher.stop(deadline())


async def test_knows_its_shards(pair: tuple[Publisher, Stored]) -> None:
    publisher, _ = pair
    assert publisher.shards == SHARDS


async def test_what_it_returned_for_is_stored_in_its_shard(pair: tuple[Publisher, Stored]) -> None:
    publisher, stored = pair
    await publisher.publish(0, b"zero")
    await publisher.publish(2, b"two")
    assert [await stored(shard) for shard in range(SHARDS)] == [[b"zero"], [], [b"two"]]


async def test_keeps_the_order_of_calls_that_overlap(pair: tuple[Publisher, Stored]) -> None:
    publisher, stored = pair
    values = [f"{number}".encode() * 1000 for number in range(200)]
    await asyncio.gather(*(publisher.publish(1, value) for value in values))
    assert await stored(1) == values


async def test_takes_the_largest_chunk(pair: tuple[Publisher, Stored]) -> None:
    publisher, stored = pair
    large = bytes(CHUNK_LIMIT)
    await asyncio.gather(publisher.publish(0, large), publisher.publish(0, b"small"), publisher.publish(0, large))
    assert await stored(0) == [large, b"small", large]


async def test_is_reachable_until_it_is_stopped(pair: tuple[Publisher, Stored]) -> None:
    publisher, _ = pair
    assert await publisher.is_reachable()
    await publisher.stop(deadline())
    assert not await publisher.is_reachable()
    with pytest.raises(PublishError):
        await publisher.publish(0, b"too late")
    await publisher.stop(deadline())
