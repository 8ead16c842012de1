"""One partition of the inbox in the hands of its present worker: begun from the outbox, worked off, begun again."""

import asyncio
import contextlib
import logging
from datetime import timedelta
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from streams.answer import Answer, answer, repeat
from streams.beginning import RETRY_SECONDS, Beginning, Work
from streams.contracts.errors import PublishError, StalledError
from streams.contracts.sections import Loss, Outbox
from streams.diversions import DivertedTooMuchError
from streams.inbox import InboxRecord
from streams.log import Extent
from streams.outbox import CLOSE_SECONDS, ForeignRecordError
from streams.recognition import Recognition
from streams.surroundings import Surroundings

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 0.5
"""What was read before a correction of the place may still come for this long; it calls for no further one."""

REPEAT_AFTER = timedelta(days=1)
"""How long the outbox is left alone. It is kept for longer than that."""


class _Letter(msgspec.Struct, gc=False):
    reason: str
    detail: str


_letters = msgspec.json.Decoder(_Letter)


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
        self._work: Work | None = None
        self._suspended = False
        self._cause: str | None = None
        self._astray = False
        self._closing = False
        self._attention = asyncio.Event()
        self._moved = asyncio.Event()
        self._stood = 0.0
        self._answered_when_seen: int | None = None
        self._come_when_seen = -1
        self._recognition = Recognition(number, surroundings)
        self._beginning = Beginning(number, surroundings, given_up=lambda: self._closing, failed=self._failed)
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
        """Answer a record, if it is the next one. Waits while too many answers are under way.

        Raises:
            DivertedTooMuchError: it would go to the dead letters, like too many before it. It is not answered.
        """
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
        self._refuse_too_many(told, work)
        work.holes.clear()
        for value in told.ahead:
            work.end.append(value)
        work.state.apply(told.record, told.keys)
        work.diversions.note(told.record.header["counts"])
        work.next = record.offset + 1
        work.end.append(told.value, told.stamp)
        work.written_at = self._around.clock.now()
        self._moved.set()
        self._around.metrics.answered(self.number, told.counts)
        self._around.metrics.open_lifecycles.labels(self._label).set(work.state.open_lifecycles)

    def _is_next(self, record: InboxRecord, work: Work) -> bool:
        return work is self._work and not self._suspended and record.offset == work.next

    def _refuse_too_many(self, told: Answer, work: Work) -> None:
        why = work.diversions.refusal(told.record.header["counts"])
        if why is None:
            return
        said = _letters.decode_lines(told.record.section(Outbox.DEAD_LETTERS))[-1]
        raise DivertedTooMuchError(
            f"shard {self.number}, inbox offset {told.stamp}: this version ({self._around.version}) of todoke can make "
            f"nothing of {told.counts.diverted} of its events ({said.reason}: {said.detail}), and {why}. It is not "
            "answered, and the worker stops: start a version that can read it, which goes on here; or raise that "
            "setting, and it goes to the dead letters"
        )

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

    def observe(self, extent: Extent, position: int | None, seconds: float) -> None:
        """Take note of how far the inbox goes.

        Args:
            extent: of the inbox; what came since may have been answered meanwhile.
            position: of the shard when that was asked for.
            seconds: since the last time.
        """
        work = self._work
        if work is None:
            self._watch_beginning(seconds)
            return
        self._around.metrics.lag.labels(self._label).set(max(0, extent.end - work.next))
        if position is not None and extent.end < min(position, work.next):
            self._begin_again("inbox recreated")
        elif extent.begin > work.next:
            self._beginning.pass_over(work, extent.begin)
            self._call_back()
        self._watch(work, extent, seconds)
        self._keep_alive(work)

    def _keep_alive(self, work: Work) -> None:
        """Write something once a day, so that retention never takes the record that the chain hangs on."""
        now = self._around.clock.now()
        # Written in the future, by Kafka's time or an own clock that was set back: nobody knows how long ago.
        is_due = not timedelta(0) <= now - work.written_at <= REPEAT_AFTER
        if is_due and not self._suspended and work.state.chain.stamp is not None:
            work.end.append(repeat(work.state))
            work.written_at = now

    def _watch(self, work: Work, extent: Extent, seconds: float) -> None:
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

    def _watch_beginning(self, seconds: float) -> None:
        come = self._beginning.steps
        if come != self._come_when_seen or self._beginning.asks:
            self._come_when_seen = come
            self._stood = 0.0
            return
        self._stood += seconds
        if self._stood >= self._around.settings.watchdog:
            self._around.fail(
                StalledError(
                    f"shard {self.number} is being loaded and has not come further for {self._stood:.0f} s: this "
                    "worker ends, and starts afresh if something supervises it"
                )
            )

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
            while (work := await self._beginning.work()) is not None:
                self._work = work
                self._cause, self._suspended = None, False
                self._around.changed()
                await self._place(work)
                await self._tend(work)
                if self._closing:
                    return
                logger.warning("Shard %d is loaded again: %s", self.number, self._cause)
                await self._drop()
                if work.end.last_stamp is None:  # nothing has come further: it may go the same way again
                    await asyncio.sleep(RETRY_SECONDS)
        except Exception as error:
            logger.exception("Shard %d cannot be worked on", self.number)
            self._around.fail(error)

    async def _tend(self, work: Work) -> None:
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

    async def _set_right(self, work: Work) -> None:
        """Find the first record that is there and not answered, and read on from it."""
        around = self._around
        if self._suspended:
            extent = await around.log.extent(around.topics.outbox.name, self.number)
            if extent.end != work.end.end:
                self._begin_again("written by another worker meanwhile")
                return
            inbox = await around.log.extent(around.topics.inbox.name, self.number)
            if await self._recognition.is_other_inbox(work.state, inbox):
                self._begin_again("inbox recreated")
                return
            self._suspended = False
        before = work.next
        there = await around.log.goes_on_at(around.topics.inbox.name, self.number, before)
        if there > before == work.next:
            self._beginning.pass_over(work, there)
        around.metrics.seeks.labels(self._label).inc()
        await self._place(work)

    async def _place(self, work: Work) -> None:
        await self._around.place(self.number, work.next)

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
