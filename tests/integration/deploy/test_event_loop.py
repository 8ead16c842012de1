"""What holds a client of Kafka together outlives a connection that is reset just when it is written to."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.coordination import FindCoordinatorRequest

from deploy.broker import admin_client
from deploy.embedded.kafka import EmbeddedKafka
from deploy.event_loop import new_event_loop
from streams.contracts.kafka import KafkaConnection


async def in_a_loop_of_a_role(step: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(step(), 30)

    def run() -> None:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(limited())

    await asyncio.to_thread(run)


def reset_connections(client: AIOKafkaClient, every: int) -> None:
    """Have every so many uses of a connection find it reset a moment before, so that nobody has heard of it yet."""
    uses = 0
    connected: Callable[..., Awaitable[Any]] = client._get_conn

    async def reset(*args: Any, **kwargs: Any) -> Any:
        nonlocal uses
        uses += 1
        connection = await connected(*args, **kwargs)
        if connection is not None and uses % every == 0:
            connection._writer.transport.abort()
            await asyncio.sleep(0)  # the loop has closed it then, and nobody who reads was told
        return connection

    client._get_conn = reset  # type: ignore[method-assign]


async def test_metadata_stays_fresh(kafka: EmbeddedKafka) -> None:
    async def step() -> None:
        client = AIOKafkaClient(bootstrap_servers=kafka.bootstrap_servers)
        await client.bootstrap()
        try:
            reset_connections(client, every=2)
            assert {await client.force_metadata_update() for _ in range(4)} == {True, False}
        finally:
            await client.close()

    await in_a_loop_of_a_role(step)


async def test_a_producer_goes_on(kafka: EmbeddedKafka, topic_prefix: str) -> None:
    connection = KafkaConnection(bootstrap_servers=kafka.bootstrap_servers)
    topic = f"{topic_prefix}any"

    async def step() -> None:
        async with AIOKafkaProducer(**connection.client_options(), enable_idempotence=True) as producer:
            reset_connections(producer.client, every=3)
            offsets = [(await producer.send_and_wait(topic, b"value", partition=0)).offset for _ in range(10)]
            assert offsets == list(range(10))

    async with admin_client(connection) as admin:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    await in_a_loop_of_a_role(step)


async def test_what_a_broker_does_not_offer_is_told_as_such(kafka: EmbeddedKafka) -> None:
    """It must not look like a connection that is lost, after which the same is tried again for ever."""

    async def step() -> None:
        client = AIOKafkaClient(bootstrap_servers=kafka.bootstrap_servers)
        await client.bootstrap()
        try:
            [node] = client.cluster.brokers()
            assert await client.ready(node.nodeId)
            for connection in client._conns.values():
                connection._versions = {}
            with pytest.raises(IncompatibleBrokerVersion):
                await client.send(node.nodeId, FindCoordinatorRequest("any", 1))
        finally:
            await client.close()

    await in_a_loop_of_a_role(step)
