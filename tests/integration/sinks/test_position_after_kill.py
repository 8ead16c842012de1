"""What Kafka does not say must not be taken for a position."""

import asyncio
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from deploy.embedded.kafka import EmbeddedKafka
from sinks.errors import UnreachableError
from sinks.group import OutboxGroup
from sinks.settings import TopicsSinkSettings
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import topics
from tests.integration.sinks.outbox import make_topics

GROUPS = 8
"""Many at once: their coordinators come back one after the other, so some are asked while they do not know yet."""


async def test_a_coordinator_that_does_not_know_yet_has_forgotten_nothing(tmp_path: Path) -> None:
    names = topics()
    async with EmbeddedKafka(data=tmp_path / "kafka") as broker:
        connection = KafkaConnection(bootstrap_servers=broker.bootstrap_servers)
        await make_topics(connection, names)
        groups = [f"group-{number}" for number in range(GROUPS)]
        await asyncio.gather(*(commit(connection, group, TopicPartition(names.outbox.name, 0)) for group in groups))
        readers = [
            OutboxGroup(kafka=connection, topic=names.outbox, group=group, settings=TopicsSinkSettings())
            for group in groups
        ]
        await asyncio.gather(*(reader.connect() for reader in readers))
        try:
            broker.kill()
            await broker.wait()
            asking = [asyncio.create_task(first_answer(reader)) for reader in readers]
            await broker.start()
            assert set(await asyncio.gather(*asking)) == {5}
        finally:
            await asyncio.gather(*(reader.leave() for reader in readers))


async def commit(connection: KafkaConnection, group: str, place: TopicPartition) -> None:
    consumer = AIOKafkaConsumer(**connection.client_options(), group_id=group, enable_auto_commit=False)
    async with consumer:
        consumer.assign([place])
        await consumer.commit({place: OffsetAndMetadata(5, "")})


async def first_answer(reader: OutboxGroup) -> int | None:
    """Ask until there is an answer; give the offset that it tells, or ``None`` if it says that there is none."""
    while True:
        try:
            position = (await reader.committed([0])).get(0)
        except UnreachableError:
            await asyncio.sleep(0)
            continue
        return None if position is None else position.offset
