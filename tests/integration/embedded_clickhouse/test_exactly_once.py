"""What the sinks build on: an insert with a token counts once, whatever happens to the server meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.clickhouse.parts import Parts
from deploy.exit import Exit
from tests.eventually import eventually
from tests.integration.embedded_clickhouse.asking import Answer, ask, rows, value

LINE = b'{"id":"%032x","kind":"%b","at":"2026-01-25T05:06:%02d.123Z"}\n'
SCHEMA = """
CREATE DATABASE mail;
CREATE TABLE mail.events (id FixedString(32), kind LowCardinality(String), at DateTime64(3, 'UTC'))
    ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000;
CREATE MATERIALIZED VIEW mail.counts (kind LowCardinality(String), events SimpleAggregateFunction(sum, UInt64))
    ENGINE = AggregatingMergeTree ORDER BY kind SETTINGS non_replicated_deduplication_window = 1000
    AS SELECT kind, count() AS events FROM mail.events GROUP BY kind
"""


async def create_tables(url: str) -> None:
    for statement in SCHEMA.split(";"):
        answer = await ask(url, statement)
        assert answer.status == 200, answer.text


async def insert(url: str, token: str, begin: int, count: int) -> Answer:
    """Insert events with ids from ``begin`` under a token."""
    body = b"".join(
        LINE % (number, (b"delivered", b"bounced")[number % 2], number % 60) for number in range(begin, begin + count)
    )
    return await ask(
        url,
        body,
        query="INSERT INTO mail.events FORMAT JSONEachRow",
        insert_deduplication_token=token,
        deduplicate_blocks_in_dependent_materialized_views=1,
        date_time_input_format="best_effort",
    )


async def counted(url: str) -> tuple[int, int]:
    """Count the events in the table and in its view."""
    ((table, view),) = await rows(
        url, "SELECT (SELECT count() FROM mail.events), (SELECT sum(events) FROM mail.counts)"
    )
    return int(table), int(view)


async def insert_selected(url: str, token: str, begin: int, count: int) -> Answer:
    """Do the same by an INSERT of a SELECT."""
    return await ask(
        url,
        "INSERT INTO mail.events SELECT leftPad(toString(number), 32, '0'), 'delivered', now64(3)"
        f" FROM numbers({begin}, {count})",
        insert_deduplication_token=token,
        deduplicate_blocks_in_dependent_materialized_views=1,
    )


@pytest.fixture
def server(tmp_path: Path) -> EmbeddedClickHouse:
    return EmbeddedClickHouse(data=tmp_path / "data")


async def test_a_token_counts_once_across_kills(server: EmbeddedClickHouse) -> None:
    async with server:
        await create_tables(server.url)
        for _ in range(2):
            assert (await insert(server.url, "a", 0, 50_000)).status == 200
        assert await counted(server.url) == (50_000, 50_000)
        server.kill()
        assert await server.wait() == -9
        await server.start()
        assert (await insert(server.url, "a", 0, 50_000)).status == 200
        assert await counted(server.url) == (50_000, 50_000)
        assert (await insert(server.url, "b", 50_000, 50_000)).status == 200
        assert (await insert(server.url, "b", 50_000, 50_000)).status == 200
        assert await counted(server.url) == (100_000, 100_000)


async def test_blocks_repeated_after_kills_count_once(server: EmbeddedClickHouse) -> None:
    """Kill the server while it takes inserts; each is repeated until it is answered."""
    await server.start()
    await create_tables(server.url)
    blocks, size = 40, 2_000
    answered = asyncio.Event()

    async def write() -> None:
        for block in range(blocks):
            while True:
                try:
                    answer = await insert(server.url, f"block-{block}", block * size, size)
                except aiohttp.ClientError:
                    await asyncio.sleep(0.01)  # the next attempt; the server is being started
                    continue
                assert answer.status == 200, answer.text
                break
            answered.set()

    writing = asyncio.create_task(write())
    for _ in range(4):
        answered.clear()
        await answered.wait()
        server.kill()
        await server.wait()
        await server.start()
    await writing
    assert await counted(server.url) == (blocks * size, blocks * size)
    assert await value(server.url, "SELECT uniqExact(id) FROM mail.events") == str(blocks * size)
    await server.stop()


async def test_an_insert_of_several_blocks_counts_once(server: EmbeddedClickHouse) -> None:
    async with server:
        await create_tables(server.url)
        body = b"".join(LINE % (number, b"delivered", 1) for number in range(100_000))
        for _ in range(2):
            answer = await ask(
                server.url,
                body,
                query="INSERT INTO mail.events FORMAT JSONEachRow",
                insert_deduplication_token="large",
                deduplicate_blocks_in_dependent_materialized_views=1,
                date_time_input_format="best_effort",
                max_insert_block_size=30_000,
                min_insert_block_size_rows=30_000,
            )
            assert answer.status == 200, answer.text
        assert await counted(server.url) == (100_000, 100_000)


async def test_an_insert_that_was_cut_off_behind_its_token_counts_when_it_comes_again(
    server: EmbeddedClickHouse,
) -> None:
    """The engine notes the token before the part has its name: here it never got one, in the table or its view."""
    async with server:
        await create_tables(server.url)
        for number, token in enumerate("ab"):
            assert (await insert(server.url, token, number * 1_000, 1_000)).status == 200
        parts = await rows(
            server.url, "SELECT path FROM system.parts WHERE database = 'mail' AND name LIKE 'all_2_2_%'"
        )
        assert len(parts) == 2
        server.kill()
        await server.wait()
        for (path,) in parts:
            lose_name(Path(path))

        await server.start()
        assert await counted(server.url) == (1_000, 1_000)
        for number, token in enumerate("ab"):
            assert (await insert(server.url, token, number * 1_000, 1_000)).status == 200
        assert await counted(server.url) == (2_000, 2_000)


@pytest.mark.parametrize("insert", [insert, insert_selected])
async def test_an_insert_that_the_disk_cuts_off_behind_its_token_ends_the_server(
    server: EmbeddedClickHouse, insert: Callable[[str, str, int, int], Awaitable[Answer]]
) -> None:
    """A file stands where the part is to be: the server may not go on, and merge over the gap.

    All of `deploy.embedded.clickhouse.tokens` hangs on that order, token and then name, which another version of the
    engine may have turned round: then it would answer with an error here.
    """
    async with server:
        await create_tables(server.url)
        in_the_way = await folder_of_events(server.url) / "all_1_1_0"
        in_the_way.touch()
        with pytest.raises(aiohttp.ClientError):
            await insert(server.url, "a", 0, 1_000)
        assert await server.wait() == Exit.FAILED
        in_the_way.unlink()

        await server.start()
        assert (await insert(server.url, "a", 0, 1_000)).status == 200
        assert await counted(server.url) == (1_000, 1_000)


async def test_inserts_that_were_cut_off_together_count_though_merges_go_over_the_gaps(
    server: EmbeddedClickHouse,
) -> None:
    """The first of them to be sure ends the process. That takes as long as an insert that is slow, and writes nothing.

    Nothing is called done meanwhile, so that of 8 writers none comes further than to the 8th insert from there.
    """
    async with server:
        await create_tables(server.url)
        table = await folder_of_events(server.url)
        in_the_way = [table / f"all_{number}_{number}_0" for number in (30, 32, 34)]
        for file in in_the_way:
            file.touch()

        async def write(begin: int) -> None:
            for number in range(begin, begin + 20):
                await eventually(partial(is_inserted, number))  # the server is started again meanwhile

        async def is_inserted(number: int) -> bool:
            try:
                answer = await insert(server.url, str(number), number, 1)
            except aiohttp.ClientError:
                return False
            assert answer.status == 200, answer.text
            return True

        async def merge() -> None:
            with suppress(aiohttp.ClientError):
                while True:
                    await ask(server.url, "OPTIMIZE TABLE mail.events")

        async def delay() -> None:
            with suppress(aiohttp.ClientError):
                await ask(
                    server.url,
                    "INSERT INTO mail.counts SELECT 'none', number FROM numbers(10) WHERE sleepEachRow(0.29)",
                )

        writing = asyncio.gather(*(write(begin) for begin in range(0, 160, 20)))
        beside = asyncio.gather(merge(), delay())
        assert await server.wait() == Exit.FAILED
        await beside
        assert Parts(entry.name for entry in table.iterdir() if entry.is_dir()).hold(in_the_way[0].name)
        for file in in_the_way:
            file.unlink()
        await server.start()
        await writing
        assert await counted(server.url) == (160, 160)


async def folder_of_events(url: str) -> Path:
    query = "SELECT data_paths[1] FROM system.tables WHERE database = 'mail' AND name = 'events'"
    return Path(await value(url, query))


def lose_name(part: Path) -> None:
    """Leave a part as it is before the last step of its insert."""
    part.rename(part.with_name(f"tmp_insert_{part.name}"))
