"""One partition of the inbox in the hands of its present worker: begun from the outbox, worked off, begun again."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiokafka.errors import KafkaError

from streams.answer import answer, found, repeat
from streams.contracts.clock import Clock, rfc3339
from streams.contracts.errors import PublishError, TodokeError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.sections import Loss
from streams.contracts.topics import Topics
from streams.inbox import InboxRecord
from streams.loading import load
from streams.log import Extent, Log
from streams.metrics import WorkerMetrics
from streams.outbox import CLOSE_SECONDS, ForeignRecordError, OutboxEnd
from streams.settings import WorkerSettings
from streams.state import BEGINNING, PartitionState

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Between two tries to begin a shard while Kafka does not answer, or takes nothing."""

SETTLE_SECONDS = 0.5
"""What was read before a correction of the place may still come for this long; it calls for no further one."""

HOURS_PER_DAY = 24

REPEAT_AFTER = timedelta(days=1)
"""How long the outbox is left alone. It is kept for longer than that."""


class StalledError(TodokeError):
    """A shard stands still although there is something to do."""

    retriable = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What all shards of a worker share."""

    connection: KafkaConnection
    log: Log
    topics: Topics
    settings: WorkerSettings
    metrics: WorkerMetrics
    clock: Clock
    version: str

    place: Callable[[int, int], Awaitable[None]]
    """Has the consumer read a partition from an offset on. Does nothing while the partition is not assigned."""

    changed: Callable[[], None]
    """Called when a shard has come further."""

    fail: Callable[[Exception], None]
    """Called with what ends the worker."""


@dataclass(slots=True)
class _Work:
    """One life of a shard, from one load of its state to the next."""

    state: PartitionState
    next: int
    """The inbox offset to be answered next."""
    end: OutboxEnd
    written_at: datetime
    """When the outbox was last written to, or later."""
    holes: list[range] = field(default_factory=list)
    """Offsets that were passed over and are not told of yet."""


class Shard:
    """One partition, as long as it is assigned to this worker.

    The agent hands in every record that Faust brings (`take`), in whatever order and however often it does. What is not
    the very next one is not answered: either it was answered already, or something between is missing, and then the
    keeper (`keep`) has the consumer read from the right place again.
    """

    def __init__(self, number: int, surroundings: Surroundings) -> None:
        self.number = number
        self._around = surroundings
        self._label = str(number)
        self._work: _Work | None = None
        self._suspended = False
        self._cause: str | None = None
        self._astray = False
        self._closing = False
        self._attention = asyncio.Event()
        self._moved = asyncio.Event()
        self._stood = 0.0
        self._answered_when_seen: int | None = None
        self._keeper = asyncio.create_task(self._keep(), name=f"shard {number}")

    # What Faust's side asks.

    @property
    def position(self) -> int | None:
        """The inbox offset to be read next; ``None`` while the shard is not ready for any."""
        return None if self._work is None or self._suspended else self._work.next

    @property
    def answered(self) -> int | None:
        """The inbox offset up to which (exclusive) all answers are durable, ``None`` while that is not known."""
        work = self._work
        if work is None:
            return None
        if not work.end.pending:
            return work.next
        stamp = work.end.last_stamp
        return None if stamp is None else stamp + 1

    async def take(self, record: InboxRecord) -> None:
        """Answer a record, if it is the next one. Waits while too many answers are under way."""
        work = self._work
        if work is None or self._suspended or record.offset < work.next:
            return
        if record.offset > work.next:
            self._call_back()
            return
        if not await work.end.room() or not self._is_next(record, work):
            return
        losses = [
            Loss(shard=self.number, first=hole.start, last=hole.stop - 1, found_at=record.at) for hole in work.holes
        ]
        told = answer(record, work.state, losses, self._around.version)
        work.holes.clear()
        work.state.apply(told.record, told.keys)
        work.next = record.offset + 1
        work.end.append(told.value, told.stamp)
        work.written_at = self._around.clock.now()
        self._moved.set()
        self._around.metrics.answered(self.number, told.counts)
        self._around.metrics.open_lifecycles.labels(self._label).set(work.state.open_lifecycles)

    def _is_next(self, record: InboxRecord, work: _Work) -> bool:
        return work is self._work and not self._suspended and record.offset == work.next

    async def suspend(self) -> None:
        """Take nothing more, since the partition may go to another worker; return when all answers are durable."""
        self._suspended = True
        if self._work is not None:
            await self._work.end.flushed()

    def resume(self) -> None:
        """Go on, since the partition stayed here."""
        self._call_back()

    async def close(self) -> None:
        """Let go of the partition."""
        # Asked first: a client of Kafka that is cancelled while it connects leaves the connection open.
        self._closing = True
        self._attention.set()
        self._moved.set()
        await asyncio.wait({self._keeper}, timeout=CLOSE_SECONDS)
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        await self._drop()
        self._around.metrics.forget(self.number)

    # What the watch over all shards asks.

    def observe(self, extent: Extent, seconds: float) -> None:
        """Take note of how far the inbox goes, ``seconds`` after the last time."""
        work = self._work
        if work is None:
            return
        self._around.metrics.lag.labels(self._label).set(max(0, extent.end - work.next))
        if extent.end < work.next:
            self._begin_again("inbox recreated")
        elif extent.begin > work.next:
            self._pass_over(work, extent.begin)
            self._call_back()
        self._watch(work, extent, seconds)
        self._keep_alive(work)

    def _keep_alive(self, work: _Work) -> None:
        """Write something once a day, so that retention never takes the record that the chain hangs on."""
        now = self._around.clock.now()
        stamp = work.state.chain.stamp
        if stamp is not None and not self._suspended and now - work.written_at > REPEAT_AFTER:
            work.end.append(repeat(work.state), stamp)
            work.written_at = now

    def _watch(self, work: _Work, extent: Extent, seconds: float) -> None:
        answered = self.answered
        if answered != self._answered_when_seen or work.next >= extent.end:
            self._answered_when_seen = answered
            self._stood = 0.0
            return
        self._stood += seconds
        settings = self._around.settings
        if self._stood >= settings.watchdog:
            self._around.fail(
                StalledError(
                    f"shard {self.number} stands at offset {work.next} for {self._stood:.0f} s although the inbox goes "
                    f"to {extent.end}: this worker ends, and starts afresh if something supervises it"
                )
            )
        elif self._stood >= settings.nudge and not work.end.pending:
            self._call_back()

    def report(self) -> dict[str, Any]:
        """Tell people where the shard is."""
        work = self._work
        if work is None:
            return {"loaded": False}
        chain = work.state.chain
        return {
            "loaded": not self._suspended,
            "epoch": chain.epoch,
            "stamp": chain.stamp,
            "next": work.next,
            "in_flight": work.end.pending,
            "open_lifecycles": work.state.open_lifecycles,
        }

    # The keeper.

    async def _keep(self) -> None:
        """Begin, and begin again whenever what is known turns out too old."""
        try:
            while (work := await self._begin()) is not None:
                self._work = work
                self._cause, self._suspended = None, False
                self._around.changed()
                await self._place(work)
                await self._tend(work)
                if self._closing:
                    return
                logger.warning("Shard %d is loaded again: %s", self.number, self._cause)
                await self._drop()
                if work.end.last_stamp is None:
                    await asyncio.sleep(RETRY_SECONDS)
        except Exception as error:
            logger.exception("Shard %d cannot be worked on", self.number)
            self._around.fail(error)

    async def _tend(self, work: _Work) -> None:
        """Correct the place that is read from when need be; return when the shard must begin again."""
        while not self._over():
            await self._attention.wait()
            self._attention.clear()
            if not self._astray or self._over():
                continue
            self._astray = False
            try:
                await self._set_right(work)
            except KafkaError as error:
                logger.warning("Shard %d: Kafka does not tell where the inbox goes on: %r", self.number, error)
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), SETTLE_SECONDS)

    def _over(self) -> bool:
        return self._cause is not None or self._closing

    async def _set_right(self, work: _Work) -> None:
        """Find the first record that is there and not answered, and read on from it."""
        around = self._around
        if self._suspended:
            extent = await around.log.extent(around.topics.outbox.name, self.number)
            if extent.end != work.end.end:
                self._begin_again("written by another worker meanwhile")
                return
            self._suspended = False
        before = work.next
        there = await around.log.goes_on_at(around.topics.inbox.name, self.number, before)
        if there > before == work.next:
            self._pass_over(work, there)
        around.metrics.seeks.labels(self._label).inc()
        await self._place(work)

    async def _place(self, work: _Work) -> None:
        await self._around.place(self.number, work.next)

    def _pass_over(self, work: _Work, to: int) -> None:
        hole = range(work.next, to)
        logger.error(
            "Shard %d: the inbox no longer holds offsets %d to %d, they are lost; it goes on behind them",
            self.number,
            hole.start,
            hole.stop - 1,
        )
        self._around.metrics.losses.labels(self._label).inc(len(hole))
        work.holes.append(hole)
        work.next = to
        self._around.changed()

    def _call_back(self) -> None:
        self._astray = True
        self._attention.set()

    def _begin_again(self, cause: str) -> None:
        if self._cause is None:
            self._cause = cause
            self._around.metrics.reloads.labels(self._label, cause).inc()
        self._attention.set()

    def _failed(self, error: PublishError) -> None:
        foreign = isinstance(error, ForeignRecordError)
        if foreign:
            self._around.metrics.foreign.labels(self._label).inc()
        logger.warning("Shard %d: %s", self.number, error)
        self._begin_again("foreign record" if foreign else "send failed")

    async def _drop(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            await work.end.close()

    # Beginning.

    async def _begin(self) -> _Work | None:
        """Load what is known, found the log if there is none, and find where to go on.

        Tries until Kafka answers; gives ``None`` when the shard is closed meanwhile.
        """
        while not self._closing:
            try:
                work = await self._try_to_begin()
            except (KafkaError, PublishError, OSError) as error:
                logger.warning("Shard %d cannot be loaded now, trying again: %r", self.number, error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if work is not None:
                    return work
        return None

    async def _try_to_begin(self) -> _Work | None:
        """Begin, or found the log and give ``None``: whichever founding came first in the log is then loaded."""
        around = self._around
        topics, settings = around.topics, around.settings
        started = time.monotonic()
        loaded = await load(
            around.log,
            topics.outbox.name,
            self.number,
            settings.horizon_days * HOURS_PER_DAY,
            given_up=lambda: self._closing,
        )
        if self._closing:
            return None
        around.metrics.load_seconds.labels(self._label).observe(time.monotonic() - started)
        state = loaded.state
        inbox = await around.log.extent(topics.inbox.name, self.number)
        if state.chain.stamp is None or inbox.end < state.chain.next_offset():
            await self._found(state, inbox)
            return None
        work = _Work(
            state=state,
            next=state.chain.next_offset(),
            end=self._end(loaded.end, self._failed),
            written_at=loaded.written_at or around.clock.now(),
        )
        await work.end.open()
        if inbox.begin > work.next:
            self._pass_over(work, inbox.begin)
        around.metrics.open_lifecycles.labels(self._label).set(state.open_lifecycles)
        return work

    async def _found(self, state: PartitionState, inbox: Extent) -> None:
        """Open an epoch behind everything that is there."""
        chain = state.chain
        losses = []
        if chain.stamp is not None:
            logger.error(
                "Shard %d: %d inbox records were answered, now the inbox ends at %d, so it was made anew. What the old "
                "one held and nobody had answered is lost",
                self.number,
                chain.next_offset(),
                inbox.end,
            )
            # How much that is, nobody knows: the span is empty.
            now = rfc3339(self._around.clock.now())
            losses = [Loss(shard=self.number, first=chain.next_offset(), last=chain.stamp, found_at=now)]
        value = found(inbox.begin - 1, chain.stamp, state.time or BEGINNING, losses)
        failures: list[PublishError] = []
        extent = await self._around.log.extent(self._around.topics.outbox.name, self.number)
        end = self._end(extent.end, failures.append)
        await end.open()
        end.append(value, inbox.begin - 1)
        await end.flushed()
        await end.close()
        # Another worker may have founded it at the same time: then the next load finds whose record came first.
        if failures and not isinstance(failures[0], ForeignRecordError):
            raise failures[0]
        logger.info("Shard %d: a log was founded behind inbox offset %d", self.number, inbox.begin - 1)

    def _end(self, offset: int, failed: Callable[[PublishError], None]) -> OutboxEnd:
        around = self._around
        return OutboxEnd(
            around.connection,
            around.settings,
            topic=around.topics.outbox.name,
            partition=self.number,
            end=offset,
            acknowledged=around.changed,
            failed=failed,
        )
