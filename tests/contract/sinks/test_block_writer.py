"""What every store of blocks must do, asked of the one in memory and of ClickHouse."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import pytest
import pytest_asyncio

from deploy.embedded.clickhouse import EmbeddedClickHouse
from sinks.block import Block
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.writer import ClickHouseWriter
from sinks.partition import Limits, PartitionReader
from sinks.position import Bounds, Position
from sinks.settings import ClickHouseConnection
from sinks.writer import BlockWriter, MemoryWriter, Stored
from streams.contracts.chain import Link
from streams.contracts.codec import encode
from streams.contracts.sections import Outbox
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import event, sections_of

Count = Callable[[], Awaitable[tuple[int, int, int]]]
"""Events, lifecycles' events, losses that the store holds."""


class Case:
    """One store under test, and how to look into it."""

    def __init__(self, writer: BlockWriter, count: Count) -> None:
        self.writer = writer
        self.count = count


def block(*numbers: int, partition: int = 0, first: int = 1, epoch: str = "one") -> Block:
    """Make a block of records of one event each."""
    reader = PartitionReader(partition, Position(offset=first), Limits(bytes=1 << 30, events=1 << 30))
    for place, number in enumerate(numbers):
        stamp = first + place - 1
        link = Link(epoch=epoch, stamp=stamp, previous=stamp - 1)
        reader.feed(first + place, encode(link.header(), sections_of([event(number)])))
    made = reader.cut()
    assert made is not None
    return made


COMPRESSIONS: dict[str, Literal["none", "lz4", "zstd"]] = {
    "clickhouse": "none",
    "clickhouse-lz4": "lz4",
    "clickhouse-zstd": "zstd",
}


@pytest_asyncio.fixture(params=["memory", *COMPRESSIONS])
async def case(request: pytest.FixtureRequest, clickhouse: EmbeddedClickHouse, database: str) -> AsyncIterator[Case]:
    if request.param == "memory":
        memory = MemoryWriter()

        async def count_memory() -> tuple[int, int, int]:
            events = [json.loads(line)["id"] for line in memory.lines(Outbox.EVENTS)]
            return len(events), len(events), len(memory.losses)

        yield Case(memory, count_memory)
        return
    connection = ClickHouseConnection(port=clickhouse.port, database=database)
    await migrate(connection)
    writer = ClickHouseWriter(connection=connection, compression=COMPRESSIONS[request.param])
    async with Tables(connection) as tables:

        async def count_tables() -> tuple[int, int, int]:
            events = await tables.number("select count() from events")
            joined = await tables.number("select sum(events) from lifecycles")
            return events, joined, await tables.number("select count() from losses")

        await writer.prepare()
        yield Case(writer, count_tables)
        await writer.close()


async def test_a_block_is_written_once_however_often_it_is_given(case: Case) -> None:
    for _ in range(3):
        await case.writer.write(block(1, 2, 3))

    assert await case.count() == (3, 3, 0)


async def test_blocks_that_differ_in_partition_bounds_or_epoch_are_all_written(case: Case) -> None:
    await case.writer.write(block(1))
    await case.writer.write(block(2, partition=1))
    await case.writer.write(block(3, first=2))
    await case.writer.write(block(4, epoch="two"))

    assert await case.count() == (4, 4, 0)


async def test_equal_events_of_different_blocks_are_not_taken_for_a_repetition(case: Case) -> None:
    """The store counts what it is told; which events are unique is decided before."""
    await case.writer.write(block(1))
    await case.writer.write(block(1, first=2))

    assert await case.count() == (2, 2, 0)


async def test_a_block_may_be_given_twice_at_the_same_time(case: Case) -> None:
    await asyncio.gather(*(case.writer.write(block(1, 2)) for _ in range(4)))

    assert await case.count() == (2, 2, 0)


async def test_a_hole_counts_once(case: Case) -> None:
    for hole in (Bounds(3, 9), Bounds(3, 9), Bounds(12, 12)):
        await case.writer.report(1, hole)

    assert (await case.count())[2] == 2


async def test_the_store_tells_how_far_it_is(case: Case) -> None:
    assert await case.writer.open(0) == Stored()

    last = block(3, 4, first=3)
    for one in (block(1, 2), last, block(9, partition=1, first=7)):
        await case.writer.write(one)

    reached = {"one": last.after.stamp or 0}
    assert await case.writer.open(0) == Stored(position=last.after, reached=reached)
    assert await case.writer.open(2) == Stored()


async def test_how_far_an_epoch_has_come_never_gets_less(case: Case) -> None:
    blocks = [block(1, 2), block(3, 4, first=3), block(5, epoch="two")]
    for one in (*blocks, blocks[0]):
        await case.writer.write(one)

    assert (await case.writer.open(0)).reached == {"one": 3, "two": 0}


async def test_closing_twice_is_allowed(case: Case) -> None:
    await case.writer.close()
    await case.writer.close()
