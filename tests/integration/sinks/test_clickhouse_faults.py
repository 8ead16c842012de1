"""A ClickHouse that is slow, refuses, or fails around an insert: the counts stay exact, and memory bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from deploy.embedded.clickhouse import EmbeddedClickHouse
from sinks.errors import BreakerError
from sinks.role import ClickHouseSinkRole
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.metrics import SINK_DEAD_LETTERS
from tests.eventually import eventually
from tests.faults.clickhouse_proxy import (
    Call,
    ClickHouseProxy,
    Fault,
    breaking_off,
    hanging_up,
    losing_the_answer,
    no_fault,
    refusing,
)
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import OutboxLog, event, sections_of
from tests.integration.sinks.running import Place, running
from tests.integration.sinks.test_clickhouse_sink import counted, each, write

FAULTS: dict[str, Fault] = {
    "hangs up": hanging_up,
    "breaks off in the middle": breaking_off,
    "loses the answer": losing_the_answer,
    "is read-only for this user": refusing(164, "Cannot execute query in readonly mode. (READONLY)"),
    "has a read-only table": refusing(242, "Table is in readonly mode. (TABLE_IS_READ_ONLY)"),
    "has no room": refusing(243, "Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)"),
    "has too many parts": refusing(252, "Too many parts (3000). (TOO_MANY_PARTS)"),
    "is short of memory": refusing(241, "(total) memory limit exceeded: would use 7 GiB. (MEMORY_LIMIT_EXCEEDED)"),
}


@asynccontextmanager
async def behind_a_proxy(place: Place, clickhouse: EmbeddedClickHouse) -> AsyncIterator[tuple[Place, ClickHouseProxy]]:
    """Put a proxy between the sinks of a place and its ClickHouse."""
    assert place.clickhouse is not None
    async with ClickHouseProxy(target=clickhouse.url).running() as proxy:
        yield replace(place, clickhouse=place.clickhouse.model_copy(update={"port": proxy.port})), proxy


def quick(place: Place) -> ClickHouseSinkRole:
    """Make a sink that tries again soon, with small blocks."""
    return place.clickhouse_role(block_events=40, retry_pause=0.02, retry_pause_limit=0.1)


async def failing(role: ClickHouseSinkRole) -> bool:
    """Tell whether the sink is known to fail, which readiness says."""
    ready, state = role.readiness()
    return not ready and bool(state["failing"])


async def idle(role: ClickHouseSinkRole) -> None:
    await asyncio.wait_for(role.until_idle(), 60)


@pytest.mark.parametrize("name", FAULTS)
async def test_whatever_an_insert_meets_it_counts_once(
    place: Place, clickhouse: EmbeddedClickHouse, log: OutboxLog, tables: Tables, name: str
) -> None:
    async with behind_a_proxy(place, clickhouse) as (proxied, proxy), running(quick(proxied)) as role:
        assert isinstance(role, ClickHouseSinkRole)
        proxy.fault = FAULTS[name]
        written = await write(log, 200)
        await eventually(lambda: failing(role))
        proxy.fault = no_fault
        proxy.faults.extend((FAULTS[name], no_fault) * 20)
        written = await write(log, 200, start=written)
        await idle(role)

        assert role.readiness()[0]
    assert await counted(tables) == each(written)
    assert await tables.number("select count() from refusals") == 0


async def test_a_sink_waits_for_a_slow_clickhouse_and_reads_no_further(
    place: Place, clickhouse: EmbeddedClickHouse, log: OutboxLog, tables: Tables
) -> None:
    """Nothing is answered for as long as the test wants; what is read meanwhile has a limit."""
    limit, largest = 500_000, 120_000
    released = asyncio.Event()

    async def slow(call: Call) -> web.Response:
        await released.wait()
        return await call.forward()

    async with behind_a_proxy(place, clickhouse) as (proxied, proxy):
        proxy.fault = slow
        role = proxied.clickhouse_role(block_bytes=largest, waiting_bytes=limit, fetch_bytes=largest)
        async with running(role):
            for number in range(60):
                await log.answer(number % 4, sections_of([event(number, subject="x" * 100_000)]))
            await eventually(lambda: waiting(role), lambda size: size >= limit)
            # One more look may have been under way, of a fetch for each partition.
            assert await waiting(role) <= limit + 4 * 2 * largest
            released.set()
            await idle(role)

    assert await tables.number("select count() from events") == 60


async def waiting(role: ClickHouseSinkRole) -> int:
    """Tell how many bytes are read and not written."""
    size: int = role.readiness()[1]["waiting_bytes"]
    return size


async def test_a_bad_deploy_stops_the_sink_and_diverts_little(place: Place, log: OutboxLog, tables: Tables) -> None:
    """Somebody forbids every row; when the mistake is undone, everything else arrives."""
    await tables.do("alter table events add constraint nothing check 0")
    await write(log, 200)
    registry = CollectorRegistry()
    role = place.clickhouse_role(dead_letter_run=7, registry=registry)
    await role.start()
    with pytest.raises(BreakerError, match="7 rows one after the other"):
        await asyncio.wait_for(role.wait(), 60)
    assert not role.readiness()[0]
    await role.stop(Deadline(10, SystemClock()))
    letters = await tables.number("select count() from dead_letters")
    assert 7 <= letters <= 7 * 4  # of each partition
    counted = registry.get_sample_value(f"{SINK_DEAD_LETTERS.name}_total", {"sink": "clickhouse"})
    assert counted is not None
    assert letters <= counted <= letters + 1  # one partition stops while the other one has counted and not yet written

    await tables.do("alter table events drop constraint nothing")
    async with running(place.clickhouse_role(dead_letter_run=7)) as second:
        await asyncio.wait_for(second.until_idle(), 60)

    assert await tables.number("select count() from events") == 200 - letters
    assert await tables.number("select count() from dead_letters") == letters
    assert await tables.number("select countIf(not balanced) from receipts") == 0
