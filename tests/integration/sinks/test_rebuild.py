"""Tables that somebody has broken, made anew from the outbox, while sinks run and while none does."""

import asyncio

import pytest
from clickhouse_connect.driver import AsyncClient

from sinks.clickhouse.rebuild import TABLES, Rebuild
from sinks.errors import RefusedError
from sinks.settings import ClickHouseSinkSettings
from streams.contracts.chain import RESTORING, Link, draw_epoch
from streams.contracts.clock import Deadline, SystemClock
from tests.eventually import eventually
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import OutboxLog
from tests.integration.sinks.running import Place, drain, running
from tests.integration.sinks.test_clickhouse_sink import counted, delete_before, each, write
from tests.integration.sinks.test_refusals import block, some_events, writing

BREAKS = [
    "alter table events delete where 1 settings mutations_sync = 1",
    "truncate table lifecycle_states",
    "alter table receipt_parts update `unique` = 0 where 1 settings mutations_sync = 1",
    "insert into hourly_counts (hour, queued) values ('2026-01-01 00:00:00', 7)",
]


def rebuild(place: Place) -> Rebuild:
    assert place.clickhouse is not None
    return Rebuild(
        kafka=place.kafka,
        topics=place.topics,
        clickhouse=place.clickhouse,
        settings=ClickHouseSinkSettings(**place.settings),
    )


def soon(seconds: float = 60) -> Deadline:
    return Deadline(seconds, SystemClock())


async def contents(tables: Tables) -> dict[str, str]:
    """Read what users see, and what the sink notes of itself but for times and generations."""
    views = ("events", "lifecycles", "receipts", "stats_hourly", "cohorts_daily", "suppressions", "dead_letters")
    return {name: await tables.text(f"select * from {name} order by all") for name in views}


async def test_broken_tables_become_what_the_outbox_says(place: Place, log: OutboxLog, tables: Tables) -> None:
    await write(log, 200)
    await drain(place.clickhouse_role(block_events=30))
    right = await contents(tables)
    for statement in BREAKS:
        await tables.do(statement)
    assert await contents(tables) != right

    work = rebuild(place)
    generation = await work.run(soon())
    assert await counted(tables) == each(0)
    assert await work.behind(generation) > 0
    await drain(place.clickhouse_role(block_events=30))

    assert await contents(tables) == right
    assert await work.behind(generation) == 0


async def test_a_new_generation_takes_what_the_old_one_had_already(place: Place, tables: Tables) -> None:
    """ClickHouse remembers the tokens of rows that were deleted, and drops them without a word when they come again."""
    assert place.clickhouse is not None
    made = block(some_events(12))
    async with writing(place.clickhouse) as writer:
        await writer.write(made)
        await tables.do("alter table events delete where 1 settings mutations_sync = 1")
        await writer.write(made)
    assert await tables.number("select count() from events") == 0

    await tables.do("insert into generations (generation, ready) values (1, true)")
    async with writing(place.clickhouse) as writer:
        await writer.write(made)
    assert await tables.number("select count() from events") == 12


async def test_a_position_in_an_old_generation_counts_for_nothing(place: Place, log: OutboxLog, tables: Tables) -> None:
    """As of a group that was not there when the tables were made anew."""
    written = await write(log, 80)
    await drain(place.clickhouse_role())
    for table in TABLES:
        await tables.do(f"truncate table {table}")
    await tables.do("insert into generations (generation, ready) values (1, true)")

    async with running(place.clickhouse_role()):
        await eventually(lambda: counted(tables), lambda found: found == each(written))


async def test_running_sinks_go_on_with_the_new_tables(place: Place, log: OutboxLog, tables: Tables) -> None:
    written = await write(log, 400)
    async with (
        running(place.clickhouse_role(block_events=30)),
        running(place.clickhouse_role(block_events=20)),
    ):
        await eventually(lambda: counted(tables), lambda found: found["events"] > 50)
        work = rebuild(place)
        for _ in range(2):
            generation = await work.run(soon())
            written = await write(log, 200, start=written)
        await eventually(lambda: work.behind(generation), lambda behind: behind == 0, within=60)

        assert await counted(tables) == each(written)


async def test_sinks_wait_for_a_rebuild_that_was_interrupted(place: Place, log: OutboxLog, tables: Tables) -> None:
    written = await write(log, 80)
    await drain(place.clickhouse_role())
    await tables.do("insert into generations (generation, ready) values (1, false)")
    written = await write(log, 80, start=written)
    role = place.clickhouse_role(retry_pause=0.05, retry_pause_limit=0.1)
    async with running(role):
        await eventually(lambda: asyncio.to_thread(role.readiness), lambda answer: answer[1]["failing"])
        assert await tables.number("select count() from events") == 80
        await rebuild(place).run(soon())
        await eventually(lambda: counted(tables), lambda found: found == each(written))


@pytest.mark.parametrize("earlier", [0, 1])
async def test_tables_that_were_emptied_as_a_whole_are_not_gone_on_with(
    place: Place, log: OutboxLog, tables: Tables, earlier: int
) -> None:
    """As of a data folder that was deleted while Kafka kept its own: what comes then would look like everything."""
    written = await write(log, 80)
    for _ in range(earlier):
        await rebuild(place).run(soon())
    await drain(place.clickhouse_role())
    for table in (*TABLES, "generations"):
        await tables.do(f"truncate table {table}")
    written = await write(log, 80, start=written)
    role = place.clickhouse_role(retry_pause=0.05, retry_pause_limit=0.1)
    async with running(role):
        await eventually(lambda: asyncio.to_thread(role.readiness), lambda answer: answer[1]["failing"])
        assert await counted(tables) == each(0)
        await rebuild(place).run(soon())
        await eventually(lambda: counted(tables), lambda found: found == each(written))


async def test_tables_that_were_brought_back_from_an_older_copy_are_not_gone_on_with(
    place: Place, log: OutboxLog, tables: Tables
) -> None:
    written = await write(log, 80)
    await drain(place.clickhouse_role())
    for table in TABLES:
        await tables.do(f"create table older_{table} as {table}")
        await tables.do(f"alter table older_{table} attach partition all from {table}")
    older = await counted(tables)
    written = await write(log, 80, start=written)
    await drain(place.clickhouse_role())
    for table in TABLES:
        await tables.do(f"truncate table {table}")
        await tables.do(f"alter table {table} attach partition all from older_{table}")
    written = await write(log, 80, start=written)
    role = place.clickhouse_role(retry_pause=0.05, retry_pause_limit=0.1)
    async with running(role):
        await eventually(lambda: asyncio.to_thread(role.readiness), lambda answer: answer[1]["failing"])
        assert await counted(tables) == older
        await rebuild(place).run(soon())
        await eventually(lambda: counted(tables), lambda found: found == each(written))


async def test_tables_are_gone_on_with_although_an_older_block_is_taken_for_the_latest(
    place: Place, log: OutboxLog, tables: Tables
) -> None:
    """As after the server's clock was set back, or when a former owner's insert comes late."""
    written = await write(log, 80)
    await drain(place.clickhouse_role())
    await tables.do(
        "insert into blocks (shard, epoch, first, last, stamp, linked, written_at) "
        "select shard, epoch, 0, 0, 0, true, '2100-01-01 00:00:00' from blocks final"
    )
    await tables.do("optimize table blocks final")
    written = await write(log, 80, start=written)
    await drain(place.clickhouse_role())

    assert await counted(tables) == each(written)


class HeldBack(Rebuild):
    """Stands still before it empties the tables, until told to go on."""

    def __init__(self, place: Place) -> None:
        assert place.clickhouse is not None
        super().__init__(
            kafka=place.kafka,
            topics=place.topics,
            clickhouse=place.clickhouse,
            settings=ClickHouseSinkSettings(**place.settings),
        )
        self.stands = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def _no_insert(self, client: AsyncClient) -> None:
        await super()._no_insert(client)
        self.stands.set()
        await self.goes_on.wait()


async def test_of_two_at_the_same_time_the_first_one_stops(place: Place, log: OutboxLog, tables: Tables) -> None:
    written = await write(log, 80)
    held_back = HeldBack(place)
    first = asyncio.create_task(held_back.run(soon()))
    await held_back.stands.wait()
    await rebuild(place).run(soon())

    async with running(place.clickhouse_role()):
        await eventually(lambda: tables.number("select count() from events"), lambda found: found > 0)
        held_back.goes_on.set()
        with pytest.raises(RefusedError, match="another `todoke rebuild`"):
            await first
        await eventually(lambda: counted(tables), lambda found: found == each(written))


async def test_a_log_without_its_beginning_is_not_rebuilt_by_mistake(
    place: Place, log: OutboxLog, tables: Tables
) -> None:
    await write(log, 200)
    await drain(place.clickhouse_role())
    await delete_before(place, partition=1, offset=3)

    with pytest.raises(RefusedError, match="partition 1 begins at 3"):
        await rebuild(place).run(soon())
    assert await counted(tables) == each(200)

    await rebuild(place).run(soon(), partial=True)
    await drain(place.clickhouse_role())
    assert await counted(tables) == each(180)
    assert await tables.rows("select shard, first, last from losses") == [{"shard": 1, "first": 0, "last": 2}]


async def test_a_log_that_was_restored_from_the_tables_does_not_replace_them(
    place: Place, log: OutboxLog, tables: Tables
) -> None:
    link = Link(epoch=draw_epoch(), stamp=-1, previous=None, founding=True)
    await log.append(0, link, {}, **{RESTORING: True})

    with pytest.raises(RefusedError, match="partition 0 was restored"):
        await rebuild(place).run(soon())
    assert await tables.number("select count() from generations") == 0


async def test_every_table_that_holds_rows_of_the_outbox_is_emptied(tables: Tables) -> None:
    """A table that is added is either made of the outbox or kept for a reason."""
    kept = {"schema_migrations", "generations", "replays"}
    names = await tables.rows(
        "select name from system.tables where database = currentDatabase() and engine like '%MergeTree'"
    )

    assert {row["name"] for row in names} == {*TABLES, *kept}
