"""What is made once in the user's cache folder: Kafka's jars, over the network, and the archive that it starts from."""

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

from deploy.embedded.errors import EmbeddedServerError
from deploy.embedded.kafka import EmbeddedKafka
from deploy.embedded.kafka.archive import MAKING, archive_path, is_due, keep, note_failure, sweep
from deploy.embedded.kafka.jars import BROKER_LOCK, Progress, class_path, default_cache
from deploy.embedded.server_folder import write_through
from streams.contracts.clock import SystemClock

logger = logging.getLogger(__name__)

ARCHIVED_WITHIN = 120.0
"""Seconds that Java has for writing the archive when the broker ends; some five on a quiet machine."""

STEP = 10
"""Jars after which a line is written where no terminal shows the same line changing."""


async def fetch_broker() -> None:
    """Fetch Kafka's jars where they are missing, and show how far that is; make the archive where it is missing.

    Raises:
        EmbeddedServerError: they cannot be fetched, or are not the ones that they should be.
    """
    cache = default_cache()
    jars = await asyncio.to_thread(class_path, BROKER_LOCK, cache=cache, progress=_show)
    archive, now = archive_path(jars, cache=cache), SystemClock().now().timestamp()
    sweep(cache, now)
    if is_due(archive, now):
        sys.stderr.write("preparing quick starts of Kafka, once\n")
        await _make_archive(archive, cache)


async def _make_archive(archive: Path, cache: Path) -> None:
    """Run a broker for a moment, so that Java archives what it loads. Without an archive Kafka works all the same."""
    try:
        with tempfile.TemporaryDirectory(prefix=MAKING, dir=cache, ignore_cleanup_errors=True) as folder:
            made = Path(folder) / "classes.aot"
            broker = EmbeddedKafka(data=Path(folder) / "data", cache=cache, archive_to=made)
            try:
                await broker.start()
            finally:
                await broker.stop(ARCHIVED_WITHIN)
            if await broker.wait() < 0:
                raise EmbeddedServerError(f"Java did not write them within {ARCHIVED_WITHIN:g} s")  # noqa: TRY301
            write_through(made)
            keep(made, archive)
    except (EmbeddedServerError, OSError) as error:
        note_failure(archive)
        logger.warning(
            "Kafka will start less quickly: its classes could not be archived, which is tried again after a day: %s",
            error,
        )


def _show(progress: Progress) -> None:
    is_last = progress.done == progress.total
    if sys.stderr.isatty():
        sys.stderr.write(f"\rfetching Kafka, once: {progress}" + "\n" * is_last)
    elif is_last or progress.done % STEP == 0:
        sys.stderr.write(f"fetching Kafka, once: {progress}\n")
    sys.stderr.flush()
