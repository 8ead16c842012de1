"""ClickHouse and Kafka killed under the sinks: these wait, and go on where they were."""

import asyncio
import operator
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.kafka import EmbeddedKafka
from sinks.clickhouse.migrations import migrate
from sinks.role import ClickHouseSinkRole
from sinks.settings import ClickHouseConnection
from streams.contracts.errors import ConfigurationError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import topics
from tests.eventually import eventually
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import OutboxLog, event, make_topics, sections_of
from tests.integration.sinks.running import Place, running
from tests.integration.sinks.test_topics_sink import consume, expected_ids, ids

PER_RECORD = 500
PARTITIONS = 4


@pytest_asyncio.fixture
async def own_clickhouse(tmp_path: Path) -> AsyncIterator[EmbeddedClickHouse]:
    """A server that the test may kill."""
    server = EmbeddedClickHouse(data=tmp_path / "clickhouse")
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def own_kafka(tmp_path: Path) -> AsyncIterator[EmbeddedKafka]:
    """A broker that the test may kill."""
    broker = EmbeddedKafka(data=tmp_path / "kafka")
    await broker.start()
    yield broker
    await broker.stop()


async def test_a_wrong_password_is_told(tmp_path: Path) -> None:
    async with EmbeddedClickHouse(data=tmp_path / "clickhouse", password="right") as server:
        wrong = ClickHouseConnection(port=server.port, password=SecretStr("wrong"))
        with pytest.raises(ConfigurationError, match=r"set clickhouse\.user and clickhouse\.password"):
            await migrate(wrong)

        await migrate(wrong.model_copy(update={"password": SecretStr("right")}))


async def write(log: OutboxLog, records: int, *, start: int = 0) -> int:
    """Write records whose events came in over several months, so that each insert makes several parts."""
    for number in range(start, start + records):
        some = [
            event(number * PER_RECORD + place, received_at=f"2026-{place % 5 + 1:02d}-02T10:00:00.000Z")
            for place in range(PER_RECORD)
        ]
        await log.answer(number % PARTITIONS, sections_of(some))
    return start + records


async def is_failing(role: ClickHouseSinkRole) -> bool:
    """Tell whether the sink has noticed that something is wrong."""
    ready, _ = role.readiness()
    return not ready


@pytest.mark.timeout(600)
async def test_clickhouse_is_killed_in_the_middle_of_inserts(
    topics_place: Place, log: OutboxLog, own_clickhouse: EmbeddedClickHouse
) -> None:
    connection = ClickHouseConnection(port=own_clickhouse.port)
    await migrate(connection)
    place = replace(topics_place, clickhouse=connection)
    role = place.clickhouse_role(block_events=PER_RECORD, retry_pause=0.05, retry_pause_limit=0.5)
    written = 0
    async with running(role), Tables(connection) as tables:
        for kill in range(4):
            written = await write(log, 40, start=written)
            some = (written - 40) * PER_RECORD + (kill + 1) * 3 * PER_RECORD
            await eventually(lambda: tables.number("select count() from events"), partial(operator.le, some))
            own_clickhouse.kill()
            await own_clickhouse.wait()
            await eventually(partial(is_failing, role))
            await own_clickhouse.start()
        await asyncio.wait_for(role.until_idle(), 120)
        ready, state = role.readiness()
        assert ready, state

        total = written * PER_RECORD
        assert await tables.number("select count() from events") == total
        assert await tables.number("select uniqExact(id) from events") == total
        assert await tables.number("select sum(events) from lifecycles") == total
        assert await tables.number("select sum(queued) from stats_hourly") == total


@pytest.mark.timeout(600)
async def test_kafka_is_killed_under_both_sinks(own_kafka: EmbeddedKafka, place: Place, tables: Tables) -> None:
    kafka = KafkaConnection(bootstrap_servers=own_kafka.bootstrap_servers)
    names = topics(place.prefix)
    await make_topics(kafka, names)
    place = replace(place, kafka=kafka, topics=names)
    settings: dict[str, Any] = {"block_events": PER_RECORD, "retry_pause": 0.05, "retry_pause_limit": 0.5}
    first, second = place.clickhouse_role(**settings), place.topics_role(**settings)
    written = 0
    async with OutboxLog(kafka, names) as log, running(first), running(second):
        for _ in range(2):
            written = await write(log, 24, start=written)
            own_kafka.kill()
            await own_kafka.wait()
            await own_kafka.start()
        written = await write(log, 24, start=written)
        await asyncio.wait_for(asyncio.gather(first.until_idle(), second.until_idle()), 120)

    total = written * PER_RECORD
    assert await tables.number("select count() from events") == total
    assert await tables.number("select sum(events) from lifecycles") == total
    assert ids(await consume(place, names.events.name)) == expected_ids(total)
