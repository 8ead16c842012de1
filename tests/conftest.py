"""Real servers for tests: started once, shared by all; every test has topics and tables of its own in them."""

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.kafka import EmbeddedKafka


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedKafka]:
    """One broker for all tests that do not break it."""
    broker = EmbeddedKafka(data=tmp_path_factory.mktemp("kafka") / "data")
    await broker.start()
    yield broker
    await broker.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedClickHouse]:
    """One server for all tests that do not break it."""
    server = EmbeddedClickHouse(data=tmp_path_factory.mktemp("clickhouse") / "data")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def topic_prefix() -> str:
    """What the names of one test's topics start with."""
    return f"test-{secrets.token_hex(6)}."


@pytest.fixture
def database() -> str:
    """Name one test's database in ClickHouse."""
    return f"test_{secrets.token_hex(6)}"
