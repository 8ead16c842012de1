"""The publisher when Kafka refuses a chunk for good, on topics of its own."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.embedded.kafka import EmbeddedKafka
from ingest.publisher import ChunkRefusedError, KafkaPublisher
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.compression import Compression
from streams.contracts.errors import PublishError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import topics

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST = 700_000  # bytes of a batch that this topic takes
FITS = bytes(600_000)  # so much that no two share a batch, as full chunks do not; no record is compressed
REFUSED = bytes(800_000)


@pytest_asyncio.fixture(loop_scope="session")
async def publisher(kafka: EmbeddedKafka, topic_prefix: str) -> AsyncIterator[KafkaPublisher]:
    topic = topics(topic_prefix).inbox
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic.name, 2, 1, topic_configs={"max.message.bytes": str(MOST)})])
    await admin.close()
    made = KafkaPublisher(
        kafka=KafkaConnection(bootstrap_servers=kafka.bootstrap_servers), topic=topic, compression=Compression.ZSTD
    )
    await made.start()
    yield made
    await made.stop(Deadline(5, SystemClock()))


async def test_a_chunk_that_is_refused_for_good_leaves_no_other_waiting(publisher: KafkaPublisher) -> None:
    """A new producer takes over; what waited behind the old one is told so."""
    refused = asyncio.Event()

    async def go_on() -> None:
        while not refused.is_set():
            try:
                await publisher.publish(1, FITS)
            except PublishError:
                continue

    others = [asyncio.create_task(go_on()) for _ in range(3)]
    async with asyncio.timeout(20):
        for _ in range(3):
            with pytest.raises(ChunkRefusedError, match="shard 0 for good: MessageSizeTooLarge"):
                await publisher.publish(0, REFUSED)
        refused.set()
        await asyncio.gather(*others)
        await publisher.publish(0, FITS)
        await publisher.publish(1, FITS)
