"""A pipeline's topics and tables on real servers, without any of its roles."""

import pytest

from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.kafka import EmbeddedKafka
from deploy.settings import Settings, TopicsSettings
from deploy.topics import ensure_topics
from sinks.clickhouse.migrations import migrate
from sinks.settings import ClickHouseConnection
from streams.contracts.kafka import KafkaConnection


@pytest.fixture
async def settings(kafka: EmbeddedKafka, clickhouse: EmbeddedClickHouse, topic_prefix: str, database: str) -> Settings:
    """Make the topics and tables; give the settings of who works with them."""
    settings = Settings(
        kafka=KafkaConnection(bootstrap_servers=kafka.bootstrap_servers),
        topics=TopicsSettings(prefix=topic_prefix, shards=2, replication_factor=1),
        clickhouse=ClickHouseConnection(host=clickhouse.host, port=clickhouse.port, database=database),
    )
    await ensure_topics(settings.kafka, settings.topics, create=True)
    await migrate(settings.clickhouse)
    return settings
