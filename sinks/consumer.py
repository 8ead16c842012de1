"""The one loop of every sink: outbox in, blocks out, in the order of the log, each exactly once.

1. *Take over.* For each partition that the group assigns: open it at the destination, which says where to go on.
2. *Read* on behind that position, follow the chain, and gather what counts, up to a limit.
3. *Cut* a block from each partition that has something. While blocks are delivered, reading goes on; so a single record
   is delivered at once, and a flood makes large blocks by itself.
4. *Report* offsets that the log no longer held, before anything behind them is delivered.
5. *Deliver* the blocks. How that is exact across crashes is the destination's affair: see `sinks.intent` (ClickHouse)
   and `sinks.topics` (Kafka transactions).
6. *Settle*: where nothing follows at once, have the destination remember what it has.

When partitions go to another sink, what is being delivered gets a moment to finish; after that it is abandoned. The
next owner goes on where the destination says, which is the same procedure as after a crash.
"""

import asyncio
import contextlib
import logging
from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Any

from aiokafka import ConsumerRecord

from sinks.block import Block
from sinks.delivery import Delivery
from sinks.errors import HandedOverError, UnreachableError
from sinks.group import LEAVE_LIMIT, OutboxGroup
from sinks.metrics import Instruments
from sinks.partition import Limits, PartitionReader, is_founding
from sinks.position import Bounds, Position
from sinks.retry import Pauses
from sinks.settings import ReadingSettings
from sinks.watchdog import Doing, Watchdog
from streams.contracts.clock import Clock, Deadline
from streams.contracts.errors import StalledError, TodokeError

logger = logging.getLogger(__name__)

LULL = 0.4  # seconds without a record after which those that wait are not kept for more
TRICKLE = 1.0  # seconds between two rounds at least that begin for that: each is an insert, and parts to merge
POLL = 0.2  # seconds that one look for records takes at most, so that a new assignment is seen soon
STALLED_LEAVE = 3.0  # seconds for leaving the group by a client that stands still, most likely
LAST_LOOK = 1.0  # seconds that the watchdog has for ending a look; cancelled, it may leave a connection open
IDLE_POLL = 0.05  # seconds between two looks whether everything is delivered


class OutboxConsumer:
    """Runs the loop for one destination."""

    def __init__(
        self,
        *,
        group: OutboxGroup,
        delivery: Delivery,
        settings: ReadingSettings,
        interval: float,
        instruments: Instruments,
        clock: Clock,
    ) -> None:
        """Prepare the loop.

        Args:
            group: joined by `start`, left by `stop`.
            delivery: the destination.
            settings: how much to read and to deliver at a time.
            interval: seconds between the beginnings of two rounds of deliveries.
            instruments: what is counted.
            clock: for the interval.
        """
        self._group = group
        self._delivery = delivery
        self._settings = settings
        self._interval = interval
        self._instruments = instruments
        self._clock = clock
        self._limits = Limits(bytes=settings.block_bytes, events=settings.block_events)
        self._readers: dict[int, PartitionReader] = {}
        self._to_open: set[int] = set()
        self._assigned: frozenset[int] = frozenset()
        self._changed = asyncio.Event()
        """Records came, or partitions, or the loop is to end."""
        self._room = asyncio.Event()
        """More may be read ahead."""
        self._room.set()
        self._hurry = asyncio.Event()
        """The next round is due, whatever the interval says."""
        self._generation = 0
        """Counts what was taken away, so that nothing that was begun before is used after."""
        self._round: asyncio.Task[bool | None] | None = None
        self._round_began = float("-inf")
        self._last_records = float("-inf")
        self._draining = False
        self._stopping = False
        self._polls = False
        """Records are being waited for."""
        self._watchdog = Watchdog(group=group, limit=settings.watchdog, doing=self._doing)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Join the group and begin.

        Raises:
            TodokeError: Kafka cannot be reached, or the outbox does not exist.
        """
        try:
            await self._group.connect()
            self._group.join(self._on_revoked, self._on_assigned)
        except BaseException:
            await self._group.leave()
            raise
        self._tasks = [asyncio.create_task(step) for step in (self._read(), self._deliver(), self._watchdog.run())]

    async def wait(self) -> None:
        """Return when the loop was stopped; raise what ended it otherwise."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            if not task.cancelled():
                task.result()

    async def stop(self, deadline: Deadline) -> None:
        """Finish the round that was begun, as far as the deadline allows, and leave the group. May be called twice."""
        self._stopping = True
        self._watchdog.stop()
        self._wake()
        stalled = self._is_stalled
        if self._tasks and not stalled:
            *work, watch = self._tasks
            await asyncio.wait(work, timeout=deadline.remaining())
            await asyncio.wait({watch}, timeout=min(LAST_LOOK, deadline.remaining()))
        for task in (self._round, *self._tasks):
            if task is not None and not task.done():
                task.cancel()
        await asyncio.gather(*self._tasks, *([self._round] if self._round else []), return_exceptions=True)
        partitions = list(self._readers)
        self._readers.clear()
        await self._delivery.release(partitions)
        await self._group.leave(
            STALLED_LEAVE if stalled else max(STALLED_LEAVE, min(LEAVE_LIMIT, deadline.remaining()))
        )

    async def until_idle(self) -> None:
        """Return as soon as all that was in the outbox when this was called is delivered and committed."""
        self._draining = True
        self._wake()
        ends: Mapping[int, int] | None = None
        try:
            while not any(task.done() for task in self._tasks):
                with contextlib.suppress(UnreachableError):
                    ends = await self._group.ends() if ends is None else ends
                    committed = await self._group.committed(ends)
                    if all(end == 0 or _offset(committed, partition) >= end for partition, end in ends.items()):
                        return
                await asyncio.sleep(IDLE_POLL)
            await self.wait()
        finally:
            self._draining = False

    def state(self) -> Mapping[str, Any]:
        """Tell where the loop is, for people."""
        return {
            "partitions": sorted(self._readers),
            "lag": {str(partition): reader.lag for partition, reader in sorted(self._readers.items())},
            "waiting_bytes": self._waiting(),
            "trouble": self._troubles(),
        }

    def _troubles(self) -> Sequence[str]:
        return [reader.trouble for _, reader in sorted(self._readers.items()) if reader.trouble is not None]

    @property
    def is_reading(self) -> bool:
        """Tell whether all assigned partitions are being read, and what is read can be delivered."""
        ends = not self._tasks or any(task.done() for task in self._tasks)
        return not ends and not self._to_open and not self._troubles()

    @property
    def _is_stalled(self) -> bool:
        return any(
            task.done() and not task.cancelled() and isinstance(task.exception(), StalledError) for task in self._tasks
        )

    def _doing(self) -> Doing:
        rests = self._polls and not self._to_open and (self._round is None or self._round.done())
        return Doing(is_waiting=self._delivery.is_waiting, rests=rests)

    # 1. Take over

    def _on_assigned(self, partitions: Collection[int]) -> None:
        self._assigned = frozenset(partitions)
        self._to_open = set(partitions)
        logger.info("Reading %s, partitions %s", self._group.topic, ", ".join(map(str, sorted(partitions))) or "none")

    async def _on_revoked(self) -> None:
        """Let everything go: each new assignment is told as a whole."""
        self._generation += 1
        self._assigned = frozenset()
        self._to_open.clear()
        readers = dict(self._readers)
        self._forget(readers)
        if self._round is not None and not self._round.done():
            await asyncio.wait({self._round}, timeout=self._settings.handover)
            if not self._round.done():
                logger.warning("A block was abandoned for a new owner of its partition, which repeats it")
                self._round.cancel()
                await asyncio.wait({self._round})
        try:
            await self._delivery.settle()
        except TodokeError as error:
            logger.warning("%s: the next owner repeats the last block", error)
        await self._delivery.release(readers)

    def _forget(self, partitions: Collection[int]) -> None:
        for partition in list(partitions):
            if self._readers.pop(partition, None) is not None:
                self._instruments.gone(partition)
        self._instruments.partitions(len(self._readers))
        self._make_room()

    async def _take_over(self) -> None:
        for partition in sorted(self._to_open):
            generation = self._generation
            position = await self._delivery.open(partition) or Position(offset=0)
            if generation != self._generation:
                await self._delivery.release([partition])
                continue
            self._group.seek(partition, position.offset)
            self._to_open.discard(partition)
            self._readers[partition] = PartitionReader(partition, position, self._limits)
            self._instruments.partitions(len(self._readers))
            again = (
                f", first the block {position.intent.first} to {position.intent.last} again" if position.intent else ""
            )
            logger.info("Partition %d goes on at offset %d%s", partition, position.offset, again)

    async def _give_up(self, partitions: Collection[int], error: TodokeError) -> None:
        """Abandon partitions; open again those that the group still says are ours."""
        logger.warning("Partitions %s are let go: %s", ", ".join(map(str, sorted(partitions))), error)
        self._instruments.failed()
        self._forget(partitions)
        await self._delivery.release(partitions)
        await asyncio.sleep(self._settings.retry_pause)
        self._to_open |= self._assigned - self._readers.keys()

    # 2. Read

    async def _read(self) -> None:
        pauses = Pauses(self._settings.retry_pause, self._settings.retry_pause_limit)
        while not self._stopping:
            try:
                await self._take_over()
            except TodokeError as error:
                if not error.retriable:
                    raise
                logger.warning("A partition cannot be taken over yet: %s", error)
                self._instruments.failed()
                await asyncio.sleep(pauses.next())
                continue
            pauses.reset()
            await self._room.wait()
            self._polls = True
            polled = await self._group.poll(self._readers, POLL)
            self._polls = False
            self._note_lull(polled)
            begins = await self._begins(polled)
            if begins is None:
                return
            for partition, records in polled.items():
                if (reader := self._readers.get(partition)) is not None:  # else it was revoked while we waited
                    reader.begin = begins.get(partition, reader.begin)
                    self._feed(reader, records)
            self._note_progress()

    def _note_lull(self, polled: Mapping[int, Any]) -> None:
        now = self._clock.monotonic()
        if polled:
            self._last_records = now
        elif now - self._last_records >= LULL and now - self._round_began >= TRICKLE and self._waiting():
            self._hurry.set()

    def _feed(self, reader: PartitionReader, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        ignored, unreadable = reader.ignored, reader.unreadable
        for record in records:
            reader.feed(record.offset, record.value or b"")
        self._instruments.ignored(reader.ignored - ignored)
        self._instruments.unreadable(reader.unreadable - unreadable)
        self._changed.set()
        if reader.is_full:
            self._hurry.set()
        if reader.is_astray:
            reader.is_astray = False
            with contextlib.suppress(HandedOverError):
                self._group.seek(reader.partition, reader.begin)

    async def _begins(self, polled: Mapping[int, Sequence[ConsumerRecord[bytes, bytes]]]) -> Mapping[int, int] | None:
        """Ask where the logs begin, if something is founded in one, however long it takes; ``None`` at the end."""
        founded = any(is_founding(record.value or b"") for records in polled.values() for record in records)
        pauses = Pauses(self._settings.retry_pause, self._settings.retry_pause_limit)
        while founded:
            try:
                return await self._group.begins()
            except UnreachableError as error:
                logger.warning("%s", error)
                await asyncio.sleep(pauses.next())
            if self._stopping:
                return None
        return {}

    def _note_progress(self) -> None:
        for partition, reader in self._readers.items():
            reader.end = self._group.end(partition) or reader.end
            self._instruments.lag(partition, reader.lag)
        self._instruments.stuck(len(self._troubles()))
        self._make_room()

    def _wake(self) -> None:
        for event in (self._changed, self._room, self._hurry):
            event.set()

    def _waiting(self) -> int:
        return sum(reader.waiting_bytes for reader in self._readers.values())

    def _make_room(self) -> None:
        waiting = self._waiting()
        self._instruments.waiting(waiting)
        if waiting < self._settings.waiting_bytes or self._stopping:
            self._room.set()
        else:
            self._room.clear()
            self._hurry.set()

    # 3. to 6. Cut, report, deliver, settle

    async def _deliver(self) -> None:
        while not self._stopping:
            self._changed.clear()
            if not await self._attempt(self._next_round()):
                await self._attempt(self._delivery.settle())
                await self._changed.wait()
            await self._pace()
        await self._attempt(self._delivery.settle())

    async def _attempt(self, step: Coroutine[Any, Any, bool | None]) -> bool:
        """Run a step as a task that a new assignment may abandon; tell whether it did something."""
        self._round = asyncio.create_task(step)
        await asyncio.wait({self._round})
        if self._round.cancelled():
            return False
        error = self._round.exception()
        if error is None:
            return bool(self._round.result())
        if isinstance(error, HandedOverError):
            await self._give_up(list(self._readers), error)
            return False
        raise error

    async def _next_round(self) -> bool:
        """Deliver a block of every partition that has one; tell whether there was any."""
        blocks: list[Block] = []
        for partition, reader in list(self._readers.items()):
            for hole in reader.holes():
                await self._report(partition, hole)
            if self._readers.get(partition) is reader and (block := reader.cut()) is not None:
                blocks.append(block)
        if not blocks:
            return False
        self._make_room()
        began = self._round_began = self._clock.monotonic()
        await self._delivery.deliver(blocks)
        self._instruments.took(self._clock.monotonic() - began)
        self._instruments.recovered()
        for block in blocks:
            self._instruments.delivered(events=block.events, size=block.size)
        return True

    async def _report(self, partition: int, hole: Bounds) -> None:
        logger.error(
            "The outbox no longer held offsets %d to %d of partition %d when they were to be read: they are lost to"
            " this sink. Give the topic a longer retention than a sink may be away",
            hole.first,
            hole.last,
            partition,
        )
        self._instruments.lost(len(hole))
        await self._delivery.report(partition, hole)

    async def _pace(self) -> None:
        """Wait until the next round is due: in a lull, or when a block is full, or else in rhythm."""
        self._hurry.clear()
        hurry = self._stopping or self._draining or not self._room.is_set()
        remaining = self._round_began + self._interval - self._clock.monotonic()
        if remaining > 0 and not hurry and not any(reader.is_full for reader in self._readers.values()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), remaining)


def _offset(positions: Mapping[int, Position], partition: int) -> int:
    position = positions.get(partition)
    return -1 if position is None else position.offset
