"""How far each stage of the pipeline is, read from Kafka alone."""

from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from deploy.topics import admin_client
from streams.contracts.chain import BEFORE_FIRST, Link
from streams.contracts.codec import decode
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import OUTBOX_LIMIT, Topics

FETCH_WITHIN_MS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One reader of one log."""

    name: str
    behind: int
    """Records that it has not worked off."""


async def stages(connection: KafkaConnection, topics: Topics, groups: dict[str, str]) -> list[Stage]:
    """Tell how many records each stage is behind.

    The worker is measured by the stamps in the outbox, since that is where it continues, and the sinks by what their
    groups committed.

    Args:
        connection: where Kafka is.
        topics: of the pipeline.
        groups: the sinks' consumer groups by the sinks' names.

    Raises:
        KafkaError: Kafka does not answer.
    """
    consumer = AIOKafkaConsumer(
        **connection.client_options(),
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_bytes=OUTBOX_LIMIT,
        max_partition_fetch_bytes=OUTBOX_LIMIT,
    )
    async with consumer, admin_client(connection) as admin:
        await consumer.topics()  # learns which partitions there are
        inbox = await _ends(consumer, topics.inbox.name)
        outbox = await _ends(consumer, topics.outbox.name)
        stamps = await _last_stamps(consumer, topics.outbox.name, outbox)
        begins = await _begins(consumer, topics.inbox.name)
        worker = sum(
            max(0, end - max(stamps.get(number, BEFORE_FIRST) + 1, begins.get(number, 0)))
            for number, end in inbox.items()
        )
        sinks = [
            Stage(name=name, behind=await _behind(admin, group, topics.outbox.name, outbox))
            for name, group in groups.items()
        ]
    return [Stage(name="worker", behind=worker), *sinks]


async def _ends(consumer: AIOKafkaConsumer, topic: str) -> dict[int, int]:
    ends = await consumer.end_offsets(_partitions(consumer, topic))
    return {partition.partition: offset for partition, offset in ends.items()}


async def _begins(consumer: AIOKafkaConsumer, topic: str) -> dict[int, int]:
    begins = await consumer.beginning_offsets(_partitions(consumer, topic))
    return {partition.partition: offset for partition, offset in begins.items()}


def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]


async def _last_stamps(consumer: AIOKafkaConsumer, topic: str, ends: dict[int, int]) -> dict[int, int]:
    """Read the last record of each partition of the outbox: its stamp is the inbox offset that was answered last."""
    wanted = {TopicPartition(topic, number): end - 1 for number, end in ends.items() if end > 0}
    begins = await consumer.beginning_offsets(list(wanted)) if wanted else {}
    wanted = {partition: last for partition, last in wanted.items() if last >= begins[partition]}
    consumer.assign(list(wanted))
    for partition, last in wanted.items():
        consumer.seek(partition, last)
    stamps: dict[int, int] = {}
    while len(stamps) < len(wanted):
        found = await consumer.getmany(*(p for p in wanted if p.partition not in stamps), timeout_ms=FETCH_WITHIN_MS)
        if not found:
            break
        for partition, records in found.items():
            stamps[partition.partition] = max(Link.of(decode(record.value or b"").header).stamp for record in records)
    return stamps


async def _behind(admin: AIOKafkaAdminClient, group: str, topic: str, ends: dict[int, int]) -> int:
    committed = await admin.list_consumer_group_offsets(group)
    positions = {key.partition: value.offset for key, value in committed.items() if key.topic == topic}
    return sum(max(0, end - max(0, positions.get(number, 0))) for number, end in ends.items())
