"""Time as a value: logic takes a clock, and times travel as one sortable text form."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a component learns the time; tests hand in one they move by hand."""

    def now(self) -> datetime:
        """Tell the wall clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Tell the seconds of a clock that never steps back, for ages and deadlines."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Tell the wall clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Tell the seconds of the machine's monotonic clock."""
        return time.monotonic()


class Deadline:
    """One point in time that the steps of a shutdown share, so that together they keep within it."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._clock = clock
        self._end = clock.monotonic() + seconds

    def remaining(self) -> float:
        """Tell the seconds that are left, never below zero."""
        return max(0.0, self._end - self._clock.monotonic())


def rfc3339(moment: datetime) -> str:
    """Write an aware time as UTC with milliseconds and ``Z`` (RFC 3339), e.g. ``2023-01-25T05:06:07.000Z``.

    Every time in a record has this one form and length, therefore the order of the texts is the order of the times, and
    nothing on an event's path has to parse them.
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
