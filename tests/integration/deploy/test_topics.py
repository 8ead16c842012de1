import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.broker import KafkaUnreachableError, admin_client, reader
from deploy.embedded.kafka import EmbeddedKafka
from deploy.settings import TopicsSettings
from deploy.topics import ensure_topics
from streams.contracts.errors import ConfigurationError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import Topic
from tests.eventually import eventually

NOBODY = KafkaConnection(bootstrap_servers="127.0.0.1:1")


@pytest.fixture
def connection(kafka: EmbeddedKafka) -> KafkaConnection:
    return KafkaConnection(bootstrap_servers=kafka.bootstrap_servers)


@pytest.mark.parametrize("replication_factor", [-1, 1])
async def test_missing_topics_are_made_and_then_found(
    connection: KafkaConnection, topic_prefix: str, replication_factor: int
) -> None:
    settings = TopicsSettings(prefix=topic_prefix, shards=3, replication_factor=replication_factor)

    looked = await ensure_topics(connection, settings, create=False)
    assert {state.differences for state in looked} == {("is missing: run `todoke topics`",)}

    made = await ensure_topics(connection, settings, create=True)
    assert [state.name for state in made] == [topic.name for topic in settings.topics().all()]
    assert all(state.created and state.partitions == 3 and not state.differences for state in made)

    again = await ensure_topics(connection, settings, create=True)
    assert not any(state.created or state.differences for state in again)


async def test_what_differs_is_told_and_left_as_it_is(connection: KafkaConnection, topic_prefix: str) -> None:
    settings = TopicsSettings(prefix=topic_prefix, shards=2)
    async with admin_client(connection) as admin:
        await admin.create_topics([NewTopic(f"{topic_prefix}lifecycles", 5, 1)])

    states = {state.name: state for state in await ensure_topics(connection, settings, create=True)}
    partitions, *configs = states[f"{topic_prefix}lifecycles"].differences
    assert "has 5 partitions where topics.shards is 2" in partitions
    assert any("cleanup.policy = delete where compact is wanted" in text for text in configs)
    assert not states[f"{topic_prefix}events"].differences


async def test_topics_that_were_made_before_get_what_they_lack_and_keep_everything_else(
    connection: KafkaConnection, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = TopicsSettings(prefix=topic_prefix, shards=1, replication_factor=1)
    inbox, outbox, _, lifecycles, suppressions, _ = settings.topics().all()
    meant = {**suppressions.config, "min.compaction.lag.ms": "60000"}
    async with admin_client(connection) as admin:
        await admin.create_topics(
            [
                NewTopic(inbox.name, 1, 1, topic_configs={"retention.ms": "86400000", "segment.bytes": "1048576"}),
                NewTopic(outbox.name, 1, 1, topic_configs=outbox.config),
                NewTopic(lifecycles.name, 1, 1, topic_configs={"cleanup.policy": "compact"}),
                NewTopic(suppressions.name, 1, 1, topic_configs=meant),
            ]
        )

        async def configured(topic: Topic = inbox) -> dict[str, str]:
            resource = ConfigResource(ConfigResourceType.TOPIC, topic.name)
            response: Any
            (response,) = await admin.describe_configs([resource])
            return {entry[0]: entry[1] for entry in response.resources[0][4]}

        before = await eventually(configured)
        states = {state.name: state for state in await ensure_topics(connection, settings, create=True)}
        assert any("message.timestamp.type = CreateTime" in text for text in states[inbox.name].differences)
        assert await configured() == before
        states = {state.name: state for state in await ensure_topics(connection, settings, create=True, update=True)}
        assert await configured() == {**before, "message.timestamp.type": "LogAppendTime"}
        updated = await configured(lifecycles)
        assert (updated["message.timestamp.type"], updated["min.compaction.lag.ms"]) == ("LogAppendTime", "3600000")
        assert (await configured(suppressions))["min.compaction.lag.ms"] == "60000", "it may be meant so"

    (difference,) = states[inbox.name].differences
    assert "retention.ms = 86400000" in difference, "it may be meant so"
    assert f"set message.timestamp.type = LogAppendTime on {inbox.name}, {lifecycles.name}, which" in caplog.text


async def test_the_outbox_keeps_what_a_longer_horizon_needs_and_never_less_than_it_did(
    connection: KafkaConnection, topic_prefix: str
) -> None:
    """The worker remembers by it: a resend within the horizon would count twice."""

    async def keeps(days: int) -> str:
        settings = TopicsSettings(prefix=topic_prefix, shards=1, replication_factor=1, horizon_days=days)
        await ensure_topics(connection, settings, create=True, update=True)
        async with admin_client(connection) as admin:
            resource = ConfigResource(ConfigResourceType.TOPIC, settings.topics().outbox.name)
            response: Any
            (response,) = await admin.describe_configs([resource])
            return str({entry[0]: entry[1] for entry in response.resources[0][4]}["retention.ms"])

    made, more, less = await keeps(7), await keeps(30), await keeps(5)

    assert (int(made), int(more)) == (8 * 86_400_000, 31 * 86_400_000)
    assert less == more


@pytest.mark.parametrize("wrong", [timedelta(days=-9), timedelta(hours=-2), timedelta(hours=2), timedelta(days=9)])
async def test_the_time_of_a_record_is_the_brokers_whatever_the_writers_clock_says(
    connection: KafkaConnection, topic_prefix: str, wrong: timedelta
) -> None:
    settings = TopicsSettings(prefix=topic_prefix, shards=1, replication_factor=1)
    await ensure_topics(connection, settings, create=True)
    now = datetime.now(UTC).timestamp()
    said = int((now + wrong.total_seconds()) * 1000)

    async with AIOKafkaProducer(**connection.client_options(), enable_idempotence=True) as producer:
        written = [
            await producer.send_and_wait(topic.name, b"value", key=b"key", partition=0, timestamp_ms=said)
            for topic in settings.topics().all()
        ]

    assert all(abs(record.timestamp / 1000 - now) < timedelta(minutes=5).total_seconds() for record in written)


async def test_a_broker_that_is_away_is_a_sentence() -> None:
    with pytest.raises(KafkaUnreachableError, match=r"127\.0\.0\.1:1 does not answer"):
        await ensure_topics(NOBODY, TopicsSettings(), create=False, patience=0)


async def test_a_topic_that_is_not_there_is_a_sentence(connection: KafkaConnection, topic_prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="has no topic"):
        async with reader(connection, f"{topic_prefix}events"):
            pass
