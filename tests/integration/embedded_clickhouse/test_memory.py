"""Results and inserts of any size pass through without being held."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from deploy.embedded.clickhouse import EmbeddedClickHouse
from tests.integration.embedded_clickhouse.asking import ask, value

MEGABYTE = 10**6


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedClickHouse]:
    async with EmbeddedClickHouse(data=tmp_path / "data") as server:
        yield server


class Watch:
    """Looks at a process's memory again and again."""

    def __init__(self, pid: int | None) -> None:
        assert pid is not None
        self._process = psutil.Process(pid)
        self.begin = self.most = self._resident()

    def look(self) -> None:
        self.most = max(self.most, self._resident())

    @property
    def growth(self) -> float:
        """Growth in MB."""
        return (self.most - self.begin) / MEGABYTE

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)


@pytest.mark.parametrize("name", ["TSV", "JSONCompact", "Native"])
async def test_a_large_result_is_not_held(server: EmbeddedClickHouse, name: str) -> None:
    await ask(server.url, "SELECT number FROM numbers(1000000)")  # what is allocated once
    watch = Watch(server.pid)
    size = 0
    query = f"SELECT number, number * 2 FROM numbers(25000000) FORMAT {name}"
    async with aiohttp.ClientSession() as session, session.post(server.url, data=query) as response:
        async for piece in response.content.iter_chunked(2**20):
            size += len(piece)
            watch.look()
    assert size > 380 * MEGABYTE
    assert watch.growth < 200


async def test_a_slow_reader_holds_the_engine_back(server: EmbeddedClickHouse) -> None:
    query = "SELECT number FROM numbers(100000000000)"
    read = f"SELECT read_rows FROM system.processes WHERE query LIKE '{query}%'"
    async with aiohttp.ClientSession(read_bufsize=2**16) as session, session.post(server.url, data=query) as response:
        assert await response.content.readexactly(1000)
        watch = Watch(server.pid)
        seen = int(await value(server.url, read))
        while (now := int(await value(server.url, read))) != seen:
            seen = now
            await asyncio.sleep(0.3)
        watch.look()
        assert seen < 20_000_000
        assert watch.growth < 100


async def test_a_large_result_waited_for_is_held_in_a_file(server: EmbeddedClickHouse) -> None:
    watch = Watch(server.pid)
    size = 0
    url = f"{server.url}/?wait_end_of_query=1"
    query = "SELECT number, number * 2 FROM numbers(15000000) FORMAT TSV"
    async with aiohttp.ClientSession() as session, session.post(url, data=query) as response:
        async for piece in response.content.iter_chunked(2**20):
            size += len(piece)
            watch.look()
    assert size > 250 * MEGABYTE
    assert watch.growth < 300


async def test_a_large_insert_is_not_held(server: EmbeddedClickHouse) -> None:
    await ask(server.url, "CREATE TABLE t (s String) ENGINE = MergeTree ORDER BY tuple()")
    piece = b"".join(b'{"s":"%0500d"}\n' % number for number in range(2000))

    async def body() -> AsyncIterator[bytes]:
        for _ in range(600):
            yield piece
            watch.look()

    parameters = {
        "query": "INSERT INTO t FORMAT JSONEachRow",
        "min_insert_block_size_bytes": str(2**24),
        "min_insert_block_size_rows": "20000",
        "max_insert_block_size": "20000",
    }
    watch = Watch(server.pid)
    async with aiohttp.ClientSession() as session, session.post(server.url, params=parameters, data=body()) as response:
        assert response.status == 200, await response.text()
    assert await value(server.url, "SELECT count() FROM t") == "1200000"
    assert watch.growth < 500
