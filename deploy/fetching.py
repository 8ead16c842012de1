"""What must come over the network once: Kafka's jars, into the user's cache folder."""

import asyncio
import sys

from deploy.embedded.kafka.jars import BROKER_LOCK, Progress, class_path, default_cache


async def fetch_broker() -> None:
    """Fetch Kafka's jars where they are missing, and show how far that is.

    Raises:
        EmbeddedKafkaError: they cannot be fetched, or are not the ones that they should be.
    """
    await asyncio.to_thread(class_path, BROKER_LOCK, cache=default_cache(), progress=_show)


def _show(progress: Progress) -> None:
    end = "\n" if progress.done == progress.total or not sys.stderr.isatty() else ""
    start = "\r" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{start}fetching Kafka, once: {progress}{end}")
    sys.stderr.flush()
