"""What the pipeline needs in Kafka and ClickHouse before its roles can start."""

import asyncio
import logging

from deploy.settings import Settings
from deploy.topics import TopicsDifferError, ensure_topics, until_coordinated
from sinks.clickhouse import migrations

logger = logging.getLogger(__name__)

KAFKA_PATIENCE = 30.0
"""Seconds that the broker may take from listening to answering."""


async def make_ready(settings: Settings) -> None:
    """Make topics and tables.

    Raises:
        TodokeError: one of them does not answer, or is not what this version can work with.
    """
    states, applied = await asyncio.gather(
        ensure_topics(settings.kafka, settings.topics, create=True, set_time=True, patience=KAFKA_PATIENCE),
        migrations.migrate(settings.clickhouse),
    )
    wrong = [f"{state.name} {difference}" for state in states for difference in state.differences]
    for sentence in wrong:
        logger.warning("topic %s", sentence)
    if any(state.partitions != settings.topics.shards for state in states):
        raise TopicsDifferError("the topics cannot be used:\n" + "\n".join(f"  {sentence}" for sentence in wrong))
    groups = (settings.worker_group(), *settings.sink_groups().values())
    await until_coordinated(settings.kafka, groups, patience=KAFKA_PATIENCE)
    if applied:
        logger.info("applied to ClickHouse: %s", applied[0] if len(applied) == 1 else f"{applied[0]} to {applied[-1]}")
