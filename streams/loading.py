"""Loading the state of a partition from the outbox, the worker's own log, by the rule that every reader follows."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from streams.contracts.chain import Chain, Link
from streams.contracts.outbox import read_outbox
from streams.diversions import Diversions
from streams.log import Extent, Log
from streams.restoration import is_restoring
from streams.state import TIME, PartitionState

logger = logging.getLogger(__name__)

CERTAIN_AFTER = 100
"""Records that must continue each other before a reader that began in the middle is sure of the chain. A worker that
lost its partition leaves fewer than that behind (`WorkerSettings.in_flight`), and they continue each other, too."""

SLACK_MS = 2 * 3_600_000
"""How much further back than the horizon is read: one hour since hours are forgotten as a whole, one since
machines' clocks differ a little."""

TELL_EVERY = 5.0  # seconds between two lines of progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What was found in an outbox partition."""

    state: PartitionState

    end: int
    """The offset up to which it was read, where the next record is to be written."""

    written_at: datetime | None
    """When its last record was written."""

    restoring: bool
    """The log is not complete: see `streams.restoration`."""

    unreadable: int
    """How many records are none of todoke's."""


class Footing:
    """How a reader finds the chain that begins somewhere in the middle of the log.

    What it reads first may be strays. A chain that is not linked lets go of them as soon as something comes that lies
    further ahead, so it is held unlinked until enough records have continued each other.
    """

    def __init__(self, chain: Chain, *, at_beginning: bool) -> None:
        self._chain = chain
        self._certain = at_beginning
        self._continued = 0

    def stepped(self, link: Link, last_stamp: int | None, *, is_first: bool = False) -> None:
        """Take note of a record that counted, of the stamp before it, and whether it is the first one of the log.

        The first one may be all that is left of a longer log, and a stray. But where its writer found the log empty,
        nothing was before it: so a log goes on that retention has emptied.
        """
        if is_first and link.founding and link.previous is None:
            self._certain = True
        if not self._certain:
            self._continued = self._continued + 1 if link.previous == last_stamp else 0
            self._certain = self._continued >= CERTAIN_AFTER
            self._chain.linked = self._certain


async def load(
    log: Log,
    topic: str,
    partition: int,
    horizon_hours: int,
    *,
    diversions: Diversions | None = None,
    given_up: Callable[[], bool] = lambda: False,
) -> Loaded:
    """Load the state of a partition.

    Args:
        log: to read from.
        topic: of the outbox.
        partition: of it.
        horizon_hours: how far back to read.
        diversions: take note of every record that counts.
        given_up: asked now and then; when it is true, what is given is worth nothing.

    Raises:
        KafkaError: no answer.
        LaterFormError: a later version of todoke wrote the outbox.
    """
    extent = await log.extent(topic, partition)
    state = PartitionState(horizon_hours)
    start = await _start(log, topic, partition, extent, horizon_hours)
    footing = Footing(state.chain, at_beginning=start == 0)
    progress = _Progress(partition, start, extent.end)
    written_at: datetime | None = None
    restoring = False
    unreadable: list[int] = []
    async for found in log.read(topic, partition, start, extent.end):
        if (read := read_outbox(found.value)) is None:
            unreadable.append(found.offset)
        else:
            record, link = read
            last_stamp = state.chain.stamp
            if state.apply(record):
                footing.stepped(link, last_stamp, is_first=found.offset == extent.begin)
                restoring = is_restoring(record)
                if diversions is not None:
                    diversions.note(record.header["counts"])
            written_at = datetime.fromtimestamp(found.timestamp / 1000, UTC)
        progress.tell(found.offset, len(found.value or b""), state.open_lifecycles)
        if given_up():
            break
        await asyncio.sleep(0)  # a large record takes a while, and heartbeats are to be sent
    else:
        progress.tell_end(state)
    if unreadable:
        logger.error(
            "%s, partition %d: %d records are none of todoke's and were passed over, the first at offset %d. Let nobody"
            " else write to this topic",
            topic,
            partition,
            len(unreadable),
            unreadable[0],
        )
    return Loaded(state=state, end=extent.end, written_at=written_at, restoring=restoring, unreadable=len(unreadable))


async def _start(log: Log, topic: str, partition: int, extent: Extent, horizon_hours: int) -> int:
    """Find where to begin: a horizon before the time up to which the log has come, whatever time it is now."""
    last = await _last_time(log, topic, partition, extent)
    if last is not None:
        at = datetime.fromisoformat(last)
        horizon_ms = int(at.timestamp() * 1000) - horizon_hours * 3_600_000 - SLACK_MS
        # Records are written after the time that they carry, so none within the horizon stands before this one.
        since = await log.first_since(topic, partition, horizon_ms)
        # What is read to become certain lies before the horizon, so that nothing depends on it but the chain.
        return max(extent.begin, (extent.end if since is None else since) - 2 * CERTAIN_AFTER)
    return extent.begin


async def _last_time(log: Log, topic: str, partition: int, extent: Extent) -> str | None:
    """Find the time up to which the log has come: mostly in its last record, else in the last one of todoke's."""
    end, records = extent.end, 1
    while end > extent.begin:
        begin, time_ = max(extent.begin, end - records), None
        async for found in log.read(topic, partition, begin, end):
            if (read := read_outbox(found.value)) is not None:
                time_ = str(read[0].header[TIME])
        if time_ is not None:
            return time_
        end, records = begin, records * 10
    return None


class _Progress:
    """Tells people how a long load comes along."""

    def __init__(self, partition: int, start: int, end: int) -> None:
        self._partition = partition
        self._start = start
        self._records = end - start
        self._bytes = 0
        self._began = self._told = time.monotonic()

    def tell(self, offset: int, size: int, lifecycles: int) -> None:
        self._bytes += size
        if time.monotonic() - self._told > TELL_EVERY:
            self._told = time.monotonic()
            logger.info(
                "Loading shard %d: %.0f %%, %d MB, %d lifecycles",
                self._partition,
                (offset + 1 - self._start) / self._records * 100,
                self._bytes >> 20,
                lifecycles,
            )

    def tell_end(self, state: PartitionState) -> None:
        logger.info(
            "Loaded shard %d: %d lifecycles from %d records, %d MB, in %.1f s; inbox offset %d is answered next",
            self._partition,
            state.open_lifecycles,
            self._records,
            self._bytes >> 20,
            time.monotonic() - self._began,
            state.chain.next_offset(),
        )
