"""Loading the state of a partition from the outbox, the worker's own log, by the rule that every reader follows."""

import asyncio
import logging
import time
from datetime import datetime

from streams.contracts.codec import decode
from streams.log import Extent, Log
from streams.state import TIME, PartitionState

logger = logging.getLogger(__name__)

LINKING_RECORDS = 100
"""Records that are read in any case, however old: with the first one alone nobody knows whether it was a stray."""

SLACK_MS = 2 * 3_600_000
"""How much further back than the horizon is read: full hours are forgotten, and machines' clocks differ a little."""

TELL_EVERY = 5.0  # seconds between two lines of progress


async def load(log: Log, topic: str, partition: int, horizon_hours: int) -> tuple[PartitionState, int]:
    """Load the state of a partition.

    Gives the state, and the offset of the outbox up to which it was read, where the next record is to be written.

    Raises:
        KafkaError: no answer.
        FormError: a later version of todoke wrote the outbox.
    """
    extent = await log.extent(topic, partition)
    state = PartitionState(horizon_hours)
    start = await _start(log, topic, partition, extent, horizon_hours)
    began = told = time.monotonic()
    read = 0
    async for record in log.read(topic, partition, start, extent.end):
        value = record.value or b""
        state.apply(decode(value))
        if record.offset == start > 0:
            # A first record in the middle of a log may be a stray: even a founding may be the second of two.
            state.chain.linked = False
        read += len(value)
        await asyncio.sleep(0)  # a large record takes a while, and heartbeats are to be sent
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            done = (record.offset + 1 - start) / (extent.end - start)
            logger.info(
                "Loading shard %d: %.0f %%, %d MB, %d lifecycles",
                partition,
                done * 100,
                read >> 20,
                state.open_lifecycles,
            )
    logger.info(
        "Loaded shard %d: %d lifecycles from %d records, %d MB, in %.1f s; answered up to %s",
        partition,
        state.open_lifecycles,
        extent.end - start,
        read >> 20,
        time.monotonic() - began,
        state.chain.stamp,
    )
    return state, extent.end


async def _start(log: Log, topic: str, partition: int, extent: Extent, horizon_hours: int) -> int:
    """Find where to begin: a horizon before the time up to which the log has come, whatever time it is now."""
    async for last in log.read(topic, partition, max(extent.begin, extent.end - 1), extent.end):
        at = datetime.fromisoformat(decode(last.value or b"").header[TIME])
        horizon_ms = int(at.timestamp() * 1000) - horizon_hours * 3_600_000 - SLACK_MS
        # Records are written after the time that they carry, so none within the horizon stands before this one.
        since = await log.first_since(topic, partition, horizon_ms)
        latest = max(extent.begin, extent.end - LINKING_RECORDS)
        return latest if since is None else min(since, latest)
    return extent.begin
