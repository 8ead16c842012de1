"""A sink that stands still although it could go on is ended, so that it is started afresh.

aiokafka can stand still for good, without a word: a task of its own dies of an error that it does not expect, like the
one that keeps the cluster's metadata fresh, and whatever waits for that task from then on waits for ever: a commit, a
fetch, the membership. One such error is known, and mended by `deploy.event_loop`.

So Kafka is asked by clients of their own, fresh for each look, which share nothing with those that may be broken. While
they get no answer, or the destination is waited for, or the group is being shared out, nothing counts as standing.
Looks are counted, not seconds: a process that was frozen finds little changed when it goes on, and has looked once.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from aiokafka.errors import KafkaError

from sinks.group import OutboxGroup
from streams.contracts.errors import StalledError, TodokeError

logger = logging.getLogger(__name__)

LOOKS = 8
"""Looks in a row that must find the same before it counts as standing; they share the limit evenly."""

ANSWER_LIMIT = 5.0
"""Seconds that Kafka has for each answer to a look."""

LOOK_LIMIT = 20.0
"""Seconds that a look may take, whatever it hangs in; saying goodbye takes `ANSWER_LIMIT` more at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Doing:
    """What the sink says of itself."""

    is_waiting: bool
    """The destination is waited for."""
    rests: bool
    """Nothing is in hand: it waits for records."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What a look found, Kafka's word but for the last two."""

    ends: Mapping[int, int]
    """Where the log of each partition ends."""
    committed: Mapping[int, int]
    """The group's positions."""
    assigned: Collection[int] | None
    """The sink's partitions; ``None`` where it is not in the group."""
    read: Mapping[int, int]
    """Up to where the sink has read."""
    rests: bool
    """See `Doing`."""


@dataclass(slots=True)
class _Place:
    committed: int
    read: int
    looks: int = 0
    """That found the partition here, with something to do."""


class Standing:
    """Judges by what looks find, one after the other. Pure."""

    def __init__(self) -> None:
        self._places: dict[int, _Place] = {}
        self._outside = 0

    def clear(self) -> None:
        """Begin again: this look tells nothing, or that the sink lives."""
        self._places.clear()
        self._outside = 0

    def judge(self, sight: Sight) -> str | None:
        """Take note of a look, and tell what has stood still for `LOOKS` of them, if anything has."""
        if sight.assigned is None:
            self._places.clear()
            self._outside += 1
            return "this sink is not in its group" if self._outside >= LOOKS else None
        self._outside = 0
        # One round delivers for all partitions: where one of them comes further, nothing in hand of another is stuck.
        rests = sight.rests or any(
            place.committed != sight.committed.get(partition, 0) for partition, place in self._places.items()
        )
        self._places = {partition: self._place(partition, sight, rests=rests) for partition in sight.assigned}
        for partition, place in sorted(self._places.items()):
            if place.looks >= LOOKS:
                return (
                    f"partition {partition} stands at offset {place.committed}, read up to {place.read} of"
                    f" {sight.ends[partition]},"
                )
        return None

    def _place(self, partition: int, sight: Sight, *, rests: bool) -> _Place:
        committed, read = sight.committed.get(partition, 0), sight.read.get(partition, 0)
        end = sight.ends.get(partition, 0)
        # What is read and not committed, though nothing is in hand, waits for something that is not in the log yet.
        has_nothing_to_do = committed >= end or (rests and read >= end)
        place = self._places.get(partition)
        # What is read again after a failure is nothing new: who reads the same again and again does not come further.
        if place is None or has_nothing_to_do or committed != place.committed or read > place.read:
            return _Place(committed, read)
        place.looks += 1
        return place


class Watchdog:
    """Looks after one sink."""

    def __init__(self, *, group: OutboxGroup, limit: float, doing: Callable[[], Doing]) -> None:
        """Prepare it.

        Args:
            group: the sink's membership. It is not asked anything that it would ask Kafka.
            limit: seconds that the sink may stand still.
            doing: tells what the sink does at the moment.
        """
        self._group = group
        self._limit = limit
        self._doing = doing
        self._standing = Standing()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look until `stop`.

        Raises:
            StalledError: the sink stands still.
        """
        while not await self._stopped_within(self._limit / LOOKS):
            sight = await self._look()
            if sight is None or self._doing().is_waiting:
                self._standing.clear()
            elif (what := self._standing.judge(sight)) is not None:
                raise StalledError(
                    f"{self._group.name}: {what} for {self._limit:g} s although Kafka answers: this sink ends, and"
                    " starts afresh if something supervises it"
                )

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def _look(self) -> Sight | None:
        """Ask Kafka, unless the destination is waited for; ``None`` where that tells nothing."""
        if self._doing().is_waiting:
            return None
        other = self._group.another(ANSWER_LIMIT)
        try:
            async with asyncio.timeout(LOOK_LIMIT):
                try:
                    await other.connect()
                    members = await other.members()
                    ends = await other.ends()
                    committed = await other.committed(ends)
                finally:
                    await other.leave(ANSWER_LIMIT)
        except (TodokeError, KafkaError, TimeoutError, OSError):
            return None
        except Exception:  # what else aiokafka may raise says nothing of the sink
            logger.warning("A look at how far the sink is failed", exc_info=True)
            return None
        if members is None:
            return None
        assigned = members.get(self._group.member)
        return Sight(
            ends=ends,
            committed={partition: position.offset for partition, position in committed.items()},
            assigned=assigned,
            read=self._group.read(assigned or ()),
            rests=self._doing().rests,
        )
