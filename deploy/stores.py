"""What the pipeline needs in Kafka and ClickHouse before its roles can start."""

import logging

from deploy.settings import Settings
from deploy.topics import TopicsDifferError, ensure_topics

logger = logging.getLogger(__name__)


async def make_ready(settings: Settings) -> None:
    """Make topics and tables.

    Raises:
        TodokeError: one of them does not answer, or is not what this version can work with.
    """
    states = await ensure_topics(settings.kafka, settings.topics, create=True, patience=30.0)
    wrong = [f"{state.name} {difference}" for state in states for difference in state.differences]
    for sentence in wrong:
        logger.warning("topic %s", sentence)
    if any(state.partitions != settings.topics.shards for state in states):
        raise TopicsDifferError("the topics cannot be used:\n" + "\n".join(f"  {sentence}" for sentence in wrong))
