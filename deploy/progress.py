"""How far each stage of the pipeline is, read from Kafka alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from deploy.broker import admin_client, reader
from deploy.topics import TopicsDifferError
from sinks.position import Position
from streams.contracts.chain import BEFORE_FIRST, Chain
from streams.contracts.kafka import KafkaConnection
from streams.contracts.outbox import read_outbox
from streams.contracts.topics import OUTBOX_LIMIT, Topics

FETCH_WITHIN_MS = 10_000
LAST_RECORDS = 32
"""Of an outbox partition, that are read to find its chain among records that do not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One reader of one log."""

    name: str
    behind: int
    """Records that it has not worked off."""
    positions: Mapping[int, Position] = field(default_factory=dict)
    """Of a sink: what its group committed, by partition."""


async def stages(connection: KafkaConnection, topics: Topics, groups: dict[str, str]) -> list[Stage]:
    """Tell how many records each stage is behind.

    The worker is measured by the stamps in the outbox, since that is where it continues, and the sinks by what their
    groups committed.

    Args:
        connection: where Kafka is.
        topics: of the pipeline.
        groups: the sinks' consumer groups by the sinks' names.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
        TopicsDifferError: there are no such topics.
    """
    limits = {"fetch_max_bytes": OUTBOX_LIMIT, "max_partition_fetch_bytes": OUTBOX_LIMIT}
    async with (
        reader(connection, auto_offset_reset="none", **limits) as consumer,
        admin_client(connection) as admin,
    ):
        counts = {entry["topic"]: len(entry["partitions"]) for entry in await admin.describe_topics()}
        absent = [topic.name for topic in (topics.inbox, topics.outbox) if topic.name not in counts]
        if absent:
            raise TopicsDifferError(f"Kafka has no topic {' and no '.join(absent)}: run `todoke topics`")
        inbox, outbox = (
            [TopicPartition(topic.name, number) for number in range(counts[topic.name])]
            for topic in (topics.inbox, topics.outbox)
        )
        stamps = await last_stamps(consumer, outbox)
        written = _by_number(await consumer.end_offsets(outbox))
        begins = _by_number(await consumer.beginning_offsets(inbox))
        ends = _by_number(await consumer.end_offsets(inbox))
        worker = sum(
            max(0, end - max(stamps.get(number, BEFORE_FIRST) + 1, begins[number])) for number, end in ends.items()
        )
        sinks = [
            _sink(name, await _committed(admin, group, topics.outbox.name), written) for name, group in groups.items()
        ]
    return [Stage(name="worker", behind=worker), *sinks]


def _by_number(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {partition.partition: offset for partition, offset in offsets.items()}


async def last_stamps(consumer: AIOKafkaConsumer, outbox: list[TopicPartition]) -> dict[int, int]:
    """Read the end of each partition of the outbox: the stamp of its chain, which is the inbox offset answered last.

    The last record alone does not tell it: a worker that had lost its partition may have written that one.
    """
    begins, ends = await consumer.beginning_offsets(outbox), await consumer.end_offsets(outbox)
    wanted = {partition: ends[partition] for partition in outbox if ends[partition] > begins[partition]}
    consumer.assign(list(wanted))
    for partition, end in wanted.items():
        consumer.seek(partition, max(begins[partition], end - LAST_RECORDS))
    chains = {partition: Chain() for partition in wanted}
    while wanted:
        found = await consumer.getmany(*wanted, timeout_ms=FETCH_WITHIN_MS)
        if not found:
            break
        for partition, records in found.items():
            for record in records:
                if (read := read_outbox(record.value)) is not None:
                    chains[partition].follow(read[1])
            if await consumer.position(partition) >= wanted[partition]:
                del wanted[partition]
    return {
        partition.partition: chain.stamp
        for partition, chain in chains.items()
        if partition not in wanted and chain.stamp is not None
    }


def _sink(name: str, positions: Mapping[int, Position], ends: Mapping[int, int]) -> Stage:
    done = {number: max(0, position.offset) for number, position in positions.items()}
    behind = sum(max(0, end - done.get(number, 0)) for number, end in ends.items())
    return Stage(name=name, behind=behind, positions=positions)


async def _committed(admin: AIOKafkaAdminClient, group: str, topic: str) -> Mapping[int, Position]:
    try:
        committed = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:
        committed = {}  # a new Kafka, or one that just starts: nobody's position is known
    return {
        key.partition: Position.of(value.offset, value.metadata)
        for key, value in committed.items()
        if key.topic == topic
    }
