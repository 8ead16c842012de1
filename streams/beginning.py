"""How work on a shard begins: its log loaded, or founded where there is none, or restored where it was lost."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aiokafka.errors import KafkaError

from streams.answer import found, repeat
from streams.contracts.clock import rfc3339
from streams.contracts.errors import ConfigurationError, PublishError, TodokeError
from streams.contracts.sections import Loss
from streams.diversions import Diversions
from streams.loading import Loaded, load
from streams.log import Extent
from streams.outbox import ForeignRecordError, OutboxEnd
from streams.recognition import Recognition
from streams.restoration import finished, restored
from streams.state import BEGINNING, PartitionState
from streams.surroundings import Surroundings

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Between two tries to begin a shard while Kafka does not answer, or takes nothing."""


@dataclass(slots=True)
class Work:
    """One life of a shard, from one load of its state to the next."""

    state: PartitionState
    next: int
    """The inbox offset to be answered next."""
    end: OutboxEnd
    written_at: datetime
    """When the outbox was last written to, or later."""
    diversions: Diversions
    holes: list[range] = field(default_factory=list)
    """Offsets that were passed over and are not told of yet."""

    def pass_over(self, to: int) -> range:
        """Go on at an offset behind records that are lost, and give those."""
        hole = range(self.next, to)
        self.holes.append(hole)
        self.next = to
        return hole


class Beginning:
    """The way to one `Work`."""

    def __init__(
        self,
        number: int,
        surroundings: Surroundings,
        *,
        given_up: Callable[[], bool],
        failed: Callable[[PublishError], None],
    ) -> None:
        """Prepare to begin.

        Args:
            number: of the shard.
            surroundings: of it.
            given_up: asked now and then; when it is true, there is nothing to begin any more.
            failed: for the `OutboxEnd` of the work.
        """
        self._number = number
        self._around = surroundings
        self._asked_to_give_up = given_up
        self._failed = failed
        self._recognition = Recognition(number, surroundings)
        self.steps = 0
        """Grows as long as the beginning comes further."""
        self.asks = False
        """The archive is asked, which may take its time; how long is for its own timeouts to say."""

    def _given_up(self) -> bool:
        """Tell whether to go on; asked after each step."""
        self.steps += 1
        return self._asked_to_give_up()

    async def work(self) -> Work | None:
        """Begin, trying until everybody answers; ``None`` when it was given up meanwhile.

        Raises:
            TodokeError: it cannot be begun, however often it is tried.
        """
        while not self._given_up():
            try:
                work = await self._try()
            except (KafkaError, OSError) as error:
                await self._wait(repr(error))
            except TodokeError as error:
                if not error.retriable:
                    raise
                await self._wait(str(error))
            else:
                if work is not None:
                    return work
        return None

    async def _wait(self, why: str) -> None:
        logger.warning("Shard %d cannot be loaded now, trying again: %s", self._number, why)
        await asyncio.sleep(RETRY_SECONDS)

    async def _try(self) -> Work | None:
        """Begin, or found or restore the log and give ``None``: whatever came first into the log is then loaded."""
        self.asks = False
        around = self._around
        settings = around.settings
        started = time.monotonic()
        diversions = Diversions(run=settings.dead_letter_run, ratio=settings.dead_letter_ratio)
        loaded = await load(
            around.log,
            around.topics.outbox.name,
            self._number,
            around.horizon_hours,
            diversions=diversions,
            given_up=self._given_up,
        )
        if self._given_up():
            return None
        around.metrics.unreadable.labels(str(self._number)).set(loaded.unreadable)
        state = loaded.state
        inbox = await around.log.extent(around.topics.inbox.name, self._number)
        if state.chain.stamp is None:
            await self._found_first(loaded, inbox)
            return None
        if loaded.restoring:
            await self._restore(loaded)
            return None
        if await self._recognition.is_other_inbox(state, inbox):
            await self._found_anew(loaded, inbox)
            return None
        around.metrics.load_seconds.labels(str(self._number)).observe(time.monotonic() - started)
        work = Work(
            state=state,
            next=state.chain.next_offset(),
            end=around.outbox_end(self._number, loaded.end, self._failed),
            written_at=loaded.written_at or around.clock.now(),
            diversions=diversions,
        )
        await work.end.open()
        if inbox.begin > work.next:
            self.pass_over(work, inbox.begin)
            # Readers may wait for just what is lost, behind an answer that got damaged. The next answer tells them, and
            # until something comes to be answered, this does.
            work.end.append(repeat(state))
            work.written_at = around.clock.now()
        around.metrics.open_lifecycles.labels(str(self._number)).set(state.open_lifecycles)
        return work

    def pass_over(self, work: Work, to: int) -> None:
        """Go on at an offset behind records that are lost, and tell everybody."""
        self._tell_lost(work.pass_over(to))
        self._around.changed()

    def _tell_lost(self, hole: range) -> None:
        logger.error(
            "Shard %d: the inbox no longer holds offsets %d to %d, they are lost; it goes on behind them",
            self._number,
            hole.start,
            hole.stop - 1,
        )
        self._around.metrics.losses.labels(str(self._number)).inc(len(hole))

    # Founding.

    async def _found_anew(self, loaded: Loaded, inbox: Extent) -> None:
        """Open an epoch behind what an inbox that is no more led to."""
        state = loaded.state
        first = state.chain.next_offset()
        logger.error(
            "Shard %d: the inbox was made anew: offset %d was to be answered next, now it goes from %d to %d. What the "
            "old one held and nobody had answered is lost",
            self._number,
            first,
            inbox.begin,
            inbox.end,
        )
        # How much that is, nobody knows: the span is empty.
        now = rfc3339(self._around.clock.now())
        loss = Loss(shard=self._number, first=first, last=first - 1, found_at=now)
        value = found(inbox.begin - 1, state.chain.stamp, state.time or BEGINNING, [loss])
        await self._found(value, inbox.begin - 1, loaded.end)

    async def _found_first(self, loaded: Loaded, inbox: Extent) -> None:
        """Open the first epoch of an empty log, after a look into the archive whether there was another log before."""
        around = self._around
        archive = around.archive
        behind, losses, restoring = inbox.begin - 1, list[Loss](), False
        self.asks = archive is not None
        if archive is not None:
            newest = await archive.newest(self._number, around.shards)
            stamp = await archive.answered(self._number)
            if stamp is not None and await self._recognition.is_known(archive, inbox, stamp):
                # Only the outbox is lost. Also where it had no event, what it answered is not to be answered again.
                behind, restoring = stamp, True
            elif stamp is not None and stamp < behind:
                losses.append(self._lost_meanwhile(range(stamp + 1, inbox.begin)))
            if newest is not None:
                restoring = True
                logger.warning(
                    "Shard %d: the outbox is empty, but ClickHouse has events of it, up to %s: what was known is "
                    "restored from there",
                    self._number,
                    newest,
                )
        elif around.settings.rebuild is False:
            logger.warning(
                "Shard %d: what ClickHouse may know of it is not asked, as worker.rebuild says", self._number
            )
        await self._found(found(behind, None, BEGINNING, losses, restoring=restoring), behind, loaded.end)

    def _lost_meanwhile(self, hole: range) -> Loss:
        """Tell of what retention took from the inbox as well, while no worker was there to answer it."""
        self._tell_lost(hole)
        now = rfc3339(self._around.clock.now())
        return Loss(shard=self._number, first=hole.start, last=hole.stop - 1, found_at=now)

    async def _found(self, value: bytes, stamp: int, end: int) -> None:
        async with self._writing(end) as outbox:
            outbox.append(value)
        logger.info("Shard %d: a log was founded, in which inbox offset %d is answered first", self._number, stamp + 1)

    # Restoring.

    async def _restore(self, loaded: Loaded) -> None:
        """Write what the archive knows into a log that was founded for it; see `streams.restoration`."""
        around, state, chain = self._around, loaded.state, loaded.state.chain
        archive = around.archive
        if archive is None:
            raise ConfigurationError(
                f"the log of shard {self._number} is half restored from ClickHouse, which this worker does not know: "
                "set [clickhouse] and worker.rebuild as they were"
            )
        self.asks = True
        stamp = chain.next_offset() - 1
        now = around.clock.now()
        newest = await archive.newest(self._number, around.shards)
        at = min(newest or BEGINNING, rfc3339(now))
        since = rfc3339(datetime.fromisoformat(at) - timedelta(hours=around.horizon_hours))
        events = 0
        async with self._writing(loaded.end) as outbox:
            if newest is not None:
                async for block in archive.history(self._number, around.shards, since):
                    events += block.count(b"\n")
                    for record, value in restored(block, state, at, around.version):
                        if not await outbox.room():
                            return  # and the failure is raised
                        state.apply(record)
                        outbox.append(value)
                    if self._given_up():
                        return
                    await asyncio.sleep(0)  # folding takes a while, and heartbeats are to be sent
            # The last record of a log tells when the inbox record of its stamp entered the inbox, if there is one.
            outbox.append(finished(chain, await self._recognition.entered(stamp) or at))
        logger.warning(
            "Shard %d: restored %d lifecycles from %d events of ClickHouse in %.1f s",
            self._number,
            state.open_lifecycles,
            events,
            (around.clock.now() - now).total_seconds(),
        )

    @asynccontextmanager
    async def _writing(self, end: int) -> AsyncIterator[OutboxEnd]:
        """Write to the outbox within the block; what was written is in the log behind it.

        Raises:
            PublishError: it may not be. Not where another worker wrote at the same time: the next load finds what came
                first.
        """
        failures: list[PublishError] = []
        outbox = self._around.outbox_end(self._number, end, failures.append)
        await outbox.open()
        try:
            yield outbox
            await outbox.flushed()
        finally:
            await outbox.close()
        if failures and not isinstance(failures[0], ForeignRecordError):
            raise failures[0]
