"""What must come over the network once: Kafka's jars, into the user's cache folder."""

import asyncio
import sys

from deploy.embedded.kafka.jars import BROKER_LOCK, Progress, class_path, default_cache

STEP = 10
"""Jars after which a line is written where no terminal shows the same line changing."""


async def fetch_broker() -> None:
    """Fetch Kafka's jars where they are missing, and show how far that is.

    Raises:
        EmbeddedServerError: they cannot be fetched, or are not the ones that they should be.
    """
    await asyncio.to_thread(class_path, BROKER_LOCK, cache=default_cache(), progress=_show)


def _show(progress: Progress) -> None:
    is_last = progress.done == progress.total
    if sys.stderr.isatty():
        sys.stderr.write(f"\rfetching Kafka, once: {progress}" + "\n" * is_last)
    elif is_last or progress.done % STEP == 0:
        sys.stderr.write(f"fetching Kafka, once: {progress}\n")
    sys.stderr.flush()
