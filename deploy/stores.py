"""What the pipeline needs of Kafka and ClickHouse before its roles can start."""

import asyncio
import logging
import sys

from deploy.embedded.kafka.jars import BROKER_LOCK, Progress, class_path, default_cache
from deploy.settings import Settings
from deploy.topics import TopicsDifferError, ensure_topics

logger = logging.getLogger(__name__)


async def fetch_broker() -> None:
    """Fetch Kafka's jars where they are missing, and show how far that is.

    Raises:
        EmbeddedKafkaError: they cannot be fetched, or are not the ones that they should be.
    """
    await asyncio.to_thread(class_path, BROKER_LOCK, cache=default_cache(), progress=_show)


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


def _show(progress: Progress) -> None:
    end = "\n" if progress.done == progress.total or not sys.stderr.isatty() else ""
    start = "\r" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{start}fetching Kafka, once: {progress}{end}")
    sys.stderr.flush()
