"""A pipeline's place in the real servers, for each test its own."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest_asyncio

from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.kafka import EmbeddedKafka
from sinks.clickhouse.migrations import migrate
from sinks.settings import ClickHouseConnection
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import topics
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import OutboxLog, make_topics
from tests.integration.sinks.running import Place

SETTINGS = {"session_timeout": 6, "interval": 0.05, "handover": 2}


@pytest_asyncio.fixture
async def topics_place(kafka: EmbeddedKafka, topic_prefix: str) -> Place:
    """Topics alone."""
    connection = KafkaConnection(bootstrap_servers=kafka.bootstrap_servers)
    names = topics(topic_prefix)
    await make_topics(connection, names)
    return Place(kafka=connection, prefix=topic_prefix, topics=names, settings=SETTINGS)


@pytest_asyncio.fixture
async def place(topics_place: Place, clickhouse: EmbeddedClickHouse, database: str) -> Place:
    """Topics and tables."""
    connection = ClickHouseConnection(port=clickhouse.port, database=database)
    await migrate(connection)
    return replace(topics_place, clickhouse=connection)


@pytest_asyncio.fixture
async def log(topics_place: Place) -> AsyncIterator[OutboxLog]:
    """The outbox of the place."""
    async with OutboxLog(topics_place.kafka, topics_place.topics) as outbox:
        yield outbox


@pytest_asyncio.fixture
async def tables(place: Place) -> AsyncIterator[Tables]:
    """The tables of the place."""
    assert place.clickhouse is not None
    async with Tables(place.clickhouse) as opened:
        yield opened
