"""ClickHouse's clock is set back, and then Kafka's positions are lost: what is there is recognised nevertheless."""

import pytest

from sinks.clickhouse.history import ClickHouseHistory
from sinks.group import OutboxGroup
from sinks.position import Position
from sinks.settings import ClickHouseSinkSettings
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import OutboxLog
from tests.integration.sinks.running import Place, drain
from tests.integration.sinks.test_clickhouse_sink import PARTITIONS, counted, each, set_back, write

CLOCK_WAS_AHEAD = """
    insert into blocks
    select * replace (written_at + interval 1 hour as written_at) from blocks
    order by written_at desc limit 1 by shard
"""
"""Makes the last blocks what they are if the server's clock was an hour ahead when they were written."""


async def positions(place: Place) -> dict[int, Position]:
    """Tell what the sink has committed."""
    settings = ClickHouseSinkSettings(**place.settings)
    name = settings.group_name(place.topics.outbox.name, "clickhouse")
    group = OutboxGroup(kafka=place.kafka, topic=place.topics.outbox, group=name, settings=settings)
    await group.connect()
    try:
        return dict(await group.committed(range(PARTITIONS)))
    finally:
        await group.leave()


async def test_all_positions_are_lost(place: Place, log: OutboxLog, tables: Tables) -> None:
    written = await write(log, 40)
    await drain(place.clickhouse_role())
    await tables.do(CLOCK_WAS_AHEAD)
    written = await write(log, 200, start=written)
    await drain(place.clickhouse_role(block_events=30))

    await set_back(place)
    await drain(place.clickhouse_role(block_events=50))

    assert await counted(tables) == each(written)


@pytest.mark.parametrize("founds", [False, True], ids=["one epoch", "a later epoch"])
async def test_the_last_positions_are_lost(place: Place, log: OutboxLog, tables: Tables, *, founds: bool) -> None:
    """As with the power of Kafka's machine."""
    written = await write(log, 40)
    await drain(place.clickhouse_role())
    await tables.do(CLOCK_WAS_AHEAD)
    for partition in range(PARTITIONS) if founds else ():
        await log.found(partition, previous=log.last[partition].stamp)
    written = await write(log, 40, start=written)
    await drain(place.clickhouse_role())
    kept = await positions(place)
    written = await write(log, 160, start=written)
    await drain(place.clickhouse_role(block_events=20))

    await set_back(place, kept)
    await drain(place.clickhouse_role(block_events=50))

    assert await counted(tables) == each(written)


async def test_an_older_block_stands_last(place: Place, log: OutboxLog, tables: Tables) -> None:
    """A version that left the time of a block to the server wrote this, or the insert of a former owner came late."""
    assert place.clickhouse is not None
    written = await write(log, 40)
    await drain(place.clickhouse_role())
    await tables.do("create table older as blocks")
    await tables.do("insert into older select * from blocks")
    written = await write(log, 200, start=written)
    await drain(place.clickhouse_role())
    await tables.do("insert into blocks select * replace (now64(6) + interval 1 hour as written_at) from older")

    await set_back(place)
    await drain(place.clickhouse_role(block_events=50))

    assert await counted(tables) == each(written)
    archive = ClickHouseHistory(place.clickhouse)
    assert [await archive.answered(shard) for shard in range(PARTITIONS)] == [
        log.last[shard].stamp for shard in range(PARTITIONS)
    ]


@pytest.mark.parametrize("stamp", [-1, 7])
async def test_a_block_of_before_it_was_noted_how_far_an_epoch_has_come(
    place: Place, tables: Tables, stamp: int
) -> None:
    assert place.clickhouse is not None
    await tables.do(f"insert into blocks (shard, epoch, stamp, linked) values (0, 'one', {stamp}, true)")
    await tables.do("truncate table reached")

    assert await ClickHouseHistory(place.clickhouse).answered(0) == stamp
