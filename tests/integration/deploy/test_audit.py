"""The books against real tables and topics: what is missing is named."""

import aiohttp
import pytest

from deploy.audit import Books, audit
from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.kafka import EmbeddedKafka
from deploy.settings import Settings, TopicsSettings
from deploy.topics import ensure_topics
from sinks.clickhouse.migrations import migrate
from sinks.settings import ClickHouseConnection
from streams.contracts.clock import SystemClock
from streams.contracts.kafka import KafkaConnection
from streams.contracts.receipts import draw_instance, receipt


@pytest.fixture
async def settings(kafka: EmbeddedKafka, clickhouse: EmbeddedClickHouse, topic_prefix: str, database: str) -> Settings:
    settings = Settings(
        kafka=KafkaConnection(bootstrap_servers=kafka.bootstrap_servers),
        topics=TopicsSettings(prefix=topic_prefix, shards=2, replication_factor=1),
        clickhouse=ClickHouseConnection(host=clickhouse.host, port=clickhouse.port, database=database),
    )
    await ensure_topics(settings.kafka, settings.topics, create=True)
    await migrate(settings.clickhouse)
    return settings


async def books(settings: Settings) -> Books:
    return await audit(settings, wait=0, clock=SystemClock())


async def insert(settings: Settings, table: str, rows: str) -> None:
    connection = settings.clickhouse
    async with aiohttp.ClientSession() as session:
        url = f"http://{connection.host}:{connection.port}"
        query = f"insert into {connection.database}.{table} {rows}"
        async with session.post(url, data=query) as answer:
            assert answer.status == 200, await answer.text()


async def test_nothing_balances(settings: Settings) -> None:
    empty = await books(settings)

    assert empty.problems() == []
    assert [stage.name for stage in empty.stages] == ["worker", "sink-clickhouse", "sink-topics"]


async def test_an_answered_post_that_lacks_events_is_named(settings: Settings) -> None:
    instance = draw_instance()
    whole, short, cut_off = (receipt(instance, number) for number in (1, 2, 3))
    columns = "(receipt, source, received_at, accepted, `unique`, duplicate, dead_lettered)"
    parts = ", ".join(
        f"('{name}', 'cmc', '2026-01-25 05:06:07.000', {accepted}, {unique}, 0, 0)"
        for name, accepted, unique in ((whole, 1, 1), (short, 5, 2), (cut_off, 5, 0))
    )
    await insert(settings, "receipt_parts", f"{columns} values {parts}")
    await insert(settings, "answered_posts", f"values ('{instance}', 2, [])")

    found = await books(settings)
    assert {status: count.receipts for status, count in found.by_status.items()} == {
        "balanced": 1,
        "missing": 1,
        "unanswered": 1,
    }
    assert [row["receipt"] for row in found.missing] == [short]
    assert found.problems() == [
        "1 answered posts are not complete: 3 of their events are missing",
        "events: 0 rows, where the receipts count 3 unique ones",
    ]


async def test_a_loss_is_told_with_its_offsets(settings: Settings) -> None:
    await insert(settings, "losses", "values ('inbox', 1, 10, 19, '2026-01-25 05:06:07.000')")

    found = await books(settings)
    assert found.problems() == ["1 spans of the log were gone before they could be read"]
    assert [(row["shard"], row["first"], row["last"]) for row in found.lost] == [(1, 10, 19)]
