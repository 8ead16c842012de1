"""When to stop putting aside what a destination refuses. Pure.

A row now and then that cannot be written is put aside, and the rest goes on. Where much is refused, the rows are not at
fault: somebody has changed a table or brought a bad version, and it would divert the mail of everybody. Two limits tell
the one from the other, for each partition: so many one after the other, or so large a share of the latest.
"""

from dataclasses import dataclass

from sinks.errors import BreakerError

WINDOW = 10_000
"""Rows that count as the latest, more or less: beyond that what is older counts half, and half again."""

LEAST = 1000
"""Fewer rows than that count as this many, so that the first refused row is no large share."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is still taken for the fault of the rows."""

    run: int
    """Rows refused one after the other."""
    ratio: float
    """Share of the latest rows."""


NOTHING = Limits(run=0, ratio=0.0)
"""Nothing is put aside."""


@dataclass(slots=True)
class Tally:
    """How much of a partition was refused of late."""

    run: int = 0
    """Refused since the last row that was taken."""
    rows: int = 0
    refused: int = 0

    def took(self, rows: int) -> None:
        """Count rows that were taken."""
        if rows:
            self.run = 0
            self._count(rows)

    def put_aside(self) -> None:
        """Count a row that was refused."""
        self.run += 1
        self.refused += 1
        self._count(1)

    def may_put_aside(self, limits: Limits) -> bool:
        """Tell whether one more refused row is within the limits."""
        return self.run < limits.run and self.refused + 1 <= limits.ratio * max(LEAST, self.rows)

    def require(self, limits: Limits, *, partition: int, what: str, setting: str) -> None:
        """Raise unless one more row may be put aside.

        Args:
            limits: of this sink.
            partition: of the outbox.
            what: which row, and why it is refused.
            setting: the section in which the limits are set.

        Raises:
            BreakerError: too much is refused.
        """
        if not self.may_put_aside(limits):
            raise BreakerError(
                f"too much of partition {partition} is refused ({self.run} rows one after the other, {self.refused} of"
                f" the latest {self.rows}), now {what}. Nothing more is put aside, nothing is skipped: mend the cause"
                f" and start the sink again, or set {setting}.dead_letter_run and dead_letter_ratio"
            )

    def _count(self, rows: int) -> None:
        self.rows += rows
        while self.rows > WINDOW:
            self.rows //= 2
            self.refused //= 2
