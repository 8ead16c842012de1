"""What the tests of the embedded ClickHouse share."""

import secrets
from collections.abc import AsyncIterator

import pytest_asyncio

from deploy.embedded.clickhouse import EmbeddedClickHouse
from tests.integration.embedded_clickhouse.asking import ask


@pytest_asyncio.fixture
async def at(clickhouse: EmbeddedClickHouse) -> str:
    """Say where the server answers."""
    return clickhouse.url


@pytest_asyncio.fixture
async def table(at: str) -> AsyncIterator[str]:
    """Name a table ``(n UInt64, s String)`` of one test's own."""
    name = f"t_{secrets.token_hex(6)}"
    created = await ask(at, f"CREATE TABLE {name} (n UInt64, s String DEFAULT 'none') ENGINE = MergeTree ORDER BY n")
    assert created.status == 200, created.text
    yield name
    await ask(at, f"DROP TABLE {name}")
