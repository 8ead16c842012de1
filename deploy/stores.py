"""What the pipeline needs in Kafka and ClickHouse before its roles can start."""

import asyncio
import logging
from collections.abc import Sequence

from deploy.settings import Settings
from deploy.topics import TopicsDifferError, TopicState, ensure_topics, until_coordinated
from sinks.clickhouse import migrations
from streams.contracts.errors import ConfigurationError

logger = logging.getLogger(__name__)


async def make_ready(settings: Settings, *, patience: float) -> None:
    """Make topics and tables.

    Args:
        settings: with their addresses.
        patience: seconds that Kafka may take for the topics, and for its groups. It may hang, and be started again
            meanwhile.

    Raises:
        TodokeError: one of them does not answer, or is not what this version can work with.
    """
    states, applied = await asyncio.gather(
        ensure_topics(settings.kafka, settings.topics, create=True, update=True, patience=patience),
        migrations.migrate(settings.clickhouse),
    )
    check_shards(states, settings.topics.shards)
    for state in states:
        for difference in state.differences:
            logger.warning("topic %s %s", state.name, difference)
    groups = (settings.worker_group(), *settings.sink_groups().values())
    await until_coordinated(settings.kafka, groups, patience=patience)
    if applied:
        logger.info("applied to ClickHouse: %s", applied[0] if len(applied) == 1 else f"{applied[0]} to {applied[-1]}")


def check_shards(states: Sequence[TopicState], shards: int) -> None:
    """Check that all topics have as many partitions as there are to be shards.

    Raises:
        TopicsDifferError: some are missing.
        ConfigurationError: they have another number.
    """
    other = {state.name: state.partitions for state in states if state.partitions != shards}
    if not other:
        return
    numbers = sorted(set(other.values()))
    if numbers == [0]:
        raise TopicsDifferError(f"topics are missing: {', '.join(other)}; run `todoke topics`")
    found = (
        f"the topics have {numbers[0]} partitions"
        if len(other) == len(states) and len(numbers) == 1
        else "of the topics " + ", ".join(f"{name} has {number} partitions" for name, number in other.items())
    )
    raise ConfigurationError(
        f"topics.shards = {shards}, but {found}, and their number is fixed: set topics.shards to that, or choose "
        "another topics.prefix and clickhouse.database for a new pipeline"
    )
