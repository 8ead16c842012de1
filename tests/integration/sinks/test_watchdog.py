"""A sink whose client of Kafka is broken ends, to be started afresh; one that has to wait does not."""

import asyncio
import contextlib
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.kafka import EmbeddedKafka
from deploy.exit import Exit
from sinks.clickhouse.migrations import migrate
from sinks.settings import ClickHouseConnection
from streams.contracts.errors import StalledError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.role import Role
from streams.contracts.topics import topics
from tests.eventually import eventually
from tests.faults.clickhouse_proxy import Call
from tests.integration.sinks.breaking import consumer_of, end_fetcher, end_metadata
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import OutboxLog, make_topics
from tests.integration.sinks.running import ROOT, Place, drain, running
from tests.integration.sinks.test_clickhouse_faults import behind_a_proxy
from tests.integration.sinks.test_clickhouse_sink import counted, each, write
from tests.integration.sinks.test_topics_sink import consume, expected_ids, ids

LIMIT = 5.0
"""Seconds that a sink of these tests may stand still: enough for a slow machine to go on where it can."""


async def outlasts(role: Role, seconds: float = 3 * LIMIT) -> None:
    """See a sink live on."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(role.wait(), seconds)


async def ends_as_stalled(role: Role, match: str) -> None:
    with pytest.raises(StalledError, match=match):
        await asyncio.wait_for(role.wait(), 120)


@pytest.mark.timeout(300)
async def test_sinks_whose_metadata_died_while_kafka_was_away_end(tmp_path: Path, place: Place, tables: Tables) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka") as broker:
        kafka, names = KafkaConnection(bootstrap_servers=broker.bootstrap_servers), topics(place.prefix)
        await make_topics(kafka, names)
        place = replace(place, kafka=kafka)
        first, second = place.clickhouse_role(watchdog=LIMIT), place.topics_role(watchdog=LIMIT)
        async with OutboxLog(kafka, names) as log, running(first), running(second):
            await write(log, 400)
            await asyncio.gather(first.until_idle(), second.until_idle())
            broker.kill()
            await broker.wait()
            await asyncio.gather(end_metadata(first), end_metadata(second))
            await broker.start()
            await write(log, 400, start=400)
            await asyncio.gather(ends_as_stalled(first, "clickhouse: "), ends_as_stalled(second, "topics: "))

        await drain(place.clickhouse_role())
        await drain(place.topics_role())
        assert await counted(tables) == each(800)
        assert ids(await consume(place, names.events.name)) == expected_ids(800)


async def test_a_sink_that_fetches_nothing_more_ends(place: Place, log: OutboxLog, tables: Tables) -> None:
    role = place.clickhouse_role(watchdog=LIMIT)
    async with running(role):
        await write(log, 80)
        await role.until_idle()
        client = consumer_of(role)._client
        await end_fetcher(role)
        await write(log, 80, start=80)
        await ends_as_stalled(role, r"clickhouse: partition \d stands at offset \d, read up to \d of 5, for 5 s")
    assert not any(connection.connected() for connection in client._conns.values())

    await drain(place.clickhouse_role())
    assert await counted(tables) == each(160)


async def test_its_process_ends_with_the_code_that_has_it_started_again(topics_place: Place, log: OutboxLog) -> None:
    await write(log, 80)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.sinks.stuck_process"),
        *(topics_place.kafka.bootstrap_servers, topics_place.prefix),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"stuck\n"
        await write(log, 80, start=80)
        _, said = await asyncio.wait_for(process.communicate(), 120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    assert process.returncode == Exit.UNREACHABLE
    assert b"although Kafka answers: this sink ends, and starts afresh if something supervises it" in said

    await drain(topics_place.topics_role())
    assert ids(await consume(topics_place, topics_place.topics.events.name)) == expected_ids(160)


async def test_waiting_for_a_clickhouse_that_is_away_is_no_standing_still(
    tmp_path: Path, topics_place: Place, log: OutboxLog
) -> None:
    async with EmbeddedClickHouse(data=tmp_path / "clickhouse") as server:
        connection = ClickHouseConnection(port=server.port)
        await migrate(connection)
        place = replace(topics_place, clickhouse=connection)
        await write(log, 80)
        async with running(place.clickhouse_role(watchdog=LIMIT)) as role:
            server.kill()  # while partitions are taken over, or the first blocks written
            await server.wait()
            await write(log, 80, start=80)
            await outlasts(role)
            await server.start()
            await asyncio.wait_for(role.until_idle(), 60)
        async with Tables(connection) as tables:
            assert await counted(tables) == each(160)


async def test_an_insert_that_takes_its_time_is_no_standing_still(
    place: Place, clickhouse: EmbeddedClickHouse, log: OutboxLog, tables: Tables
) -> None:
    async def slow(call: Call) -> web.Response:
        await asyncio.sleep(3 * LIMIT)
        return await call.forward()

    async with (
        behind_a_proxy(place, clickhouse) as (proxied, proxy),
        running(proxied.clickhouse_role(watchdog=LIMIT)) as role,
    ):
        proxy.faults.append(slow)
        await write(log, 80)
        await asyncio.wait_for(role.until_idle(), 60)
    assert await counted(tables) == each(80)


@pytest.mark.timeout(300)
async def test_waiting_for_a_kafka_that_is_away_is_no_standing_still(tmp_path: Path, topics_place: Place) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka") as broker:
        kafka, names = KafkaConnection(bootstrap_servers=broker.bootstrap_servers), topics(topics_place.prefix)
        await make_topics(kafka, names)
        place = replace(topics_place, kafka=kafka)
        async with OutboxLog(kafka, names) as log, running(place.topics_role(watchdog=LIMIT)) as role:
            await write(log, 80)
            broker.kill()
            await broker.wait()
            await outlasts(role)
            await broker.start()
            await write(log, 80, start=80)
            await asyncio.wait_for(role.until_idle(), 120)
        assert ids(await consume(place, names.events.name)) == expected_ids(160)


async def test_a_sink_whose_partitions_others_have_does_not_stand(topics_place: Place) -> None:
    names = topics(topics_place.prefix + "one.")
    await make_topics(topics_place.kafka, names, partitions=1)
    place = replace(topics_place, topics=names)
    async with OutboxLog(place.kafka, names) as log:
        await log.found(0)
        async with running(place.topics_role(watchdog=1)) as one, running(place.topics_role(watchdog=1)) as other:
            both = (one, other)

            async def shares() -> list[int]:
                return sorted(len(role.readiness()[1]["partitions"]) for role in both)

            await eventually(shares, lambda found: found == [0, 1])
            await asyncio.gather(*(outlasts(role, 5) for role in both))


@pytest.mark.timeout(120)
async def test_a_process_that_was_frozen_goes_on(place: Place, log: OutboxLog, tables: Tables) -> None:
    await write(log, 80)
    async with place.process("clickhouse", watchdog=LIMIT, session_timeout=60) as process:
        await eventually(lambda: counted(tables), lambda found: found == each(80))
        process.send_signal(signal.SIGSTOP)
        await write(log, 80, start=80)
        await asyncio.sleep(2 * LIMIT)
        process.send_signal(signal.SIGCONT)
        await eventually(lambda: counted(tables), lambda found: found == each(160))
        assert process.returncode is None


async def test_a_rebalance_that_a_frozen_sink_holds_up_is_no_standing_still(
    topics_place: Place, log: OutboxLog
) -> None:
    place = replace(topics_place, settings={**topics_place.settings, "session_timeout": 25})
    await write(log, 80)
    one = place.topics_role(watchdog=2)

    async def has() -> int:
        return len(one.readiness()[1]["partitions"])

    async with running(one):
        await eventually(has, lambda partitions: partitions == 4)
        async with place.process("topics") as other:
            await eventually(has, lambda partitions: partitions == 2)
            other.send_signal(signal.SIGSTOP)
            async with running(place.topics_role(watchdog=2)) as third:  # the group waits for the frozen one
                await eventually(has, lambda partitions: partitions == 0)
                await write(log, 80, start=80)
                await asyncio.gather(outlasts(one, 8), outlasts(third, 8))
                assert await has() == 0
