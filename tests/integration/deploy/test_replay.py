"""Replaying dead letters from real tables."""

import json

import aiohttp
import pytest

from deploy.dead_letters import Selection
from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.kafka import EmbeddedKafka
from deploy.replay import Replay
from deploy.settings import Settings, TopicsSettings
from deploy.topics import ensure_topics
from sinks.clickhouse.migrations import migrate
from sinks.settings import ClickHouseConnection
from streams.contracts.clock import SystemClock
from streams.contracts.kafka import KafkaConnection

AT = "2026-01-25 05:06:07.000"
LETTERS, EVENTS = 100, 100


@pytest.fixture
async def settings(kafka: EmbeddedKafka, clickhouse: EmbeddedClickHouse, topic_prefix: str, database: str) -> Settings:
    made = Settings(
        kafka=KafkaConnection(bootstrap_servers=kafka.bootstrap_servers),
        topics=TopicsSettings(prefix=topic_prefix, shards=2, replication_factor=1),
        clickhouse=ClickHouseConnection(host=clickhouse.host, port=clickhouse.port, database=database),
    )
    await ensure_topics(made.kafka, made.topics, create=True)
    await migrate(made.clickhouse)
    return made


async def insert(settings: Settings, table: str, rows: list[dict[str, object]]) -> None:
    connection = settings.clickhouse
    async with aiohttp.ClientSession(f"http://{connection.host}:{connection.port}") as session:
        query = f"insert into {connection.database}.{table} format JSONEachRow\n"
        async with session.post("/", data=query + "\n".join(map(json.dumps, rows))) as answer:
            assert answer.status == 200, await answer.text()


def body(number: int) -> str:
    return json.dumps(
        [
            {"type": "delivered", "recipient": f"{number}-{event}@example.com", "occurred_at": "2026-01-25T05:06:07Z"}
            for event in range(EVENTS)
        ]
    )


async def test_letters_of_more_events_than_one_query_may_name_are_replayed(settings: Settings) -> None:
    letters: list[dict[str, object]] = [
        {
            "receipt": f"{number:032x}", "number": 0, "part": 0, "parts": 1, "source": "cmc", "reason": "body_shape",
            "topic": "", "partition": -1, "offset": -1, "received_at": AT, "raw": body(number),
        }
        for number in range(LETTERS)
    ]  # fmt: skip
    for begin in range(0, LETTERS, 20):
        await insert(settings, "dead_letters", letters[begin : begin + 20])

    replay = Replay(settings=settings, clock=SystemClock(), dry_run=False)
    await replay.run(Selection(), again=False)
    (tally,) = replay.tallies.values()
    assert (tally.letters, tally.readable, tally.events, tally.known) == (LETTERS, LETTERS, LETTERS * EVENTS, 0)
