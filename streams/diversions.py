"""The breaker before the dead letters: a worker that cannot use its records stops, and does not divert them all.

One record that cannot be worked with must not stop the others, so it goes to the dead letters. When one follows the
other, it is not the records that are wrong but the worker: then it answers nothing more, and a version that is right
goes on where it stopped. What counts is what the worker itself diverts, not what ingest had already put aside.

How much was diverted stands in the header of every outbox record, so a worker that starts again knows it, and a
supervisor that starts it again and again diverts nothing more.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

from streams.contracts.errors import TodokeError

WINDOW = 1000
"""Records with events over which the share is measured."""


class DivertedTooMuchError(TodokeError):
    """Too much of what a worker reads would go to the dead letters."""


class Diversions:
    """How much of the latest records of one partition the worker diverted to the dead letters."""

    def __init__(self, *, run: int, ratio: float) -> None:
        """Set the limits.

        Args:
            run: records in a row of which everything may be diverted.
            ratio: the share, 0 to 1, that may be diverted of the last `WINDOW` records; records that are not there yet
                count as good ones.
        """
        self._run_limit = run
        self._ratio_limit = ratio
        self._run = 0
        self._shares: deque[float] = deque(maxlen=WINDOW)
        self._sum = 0.0

    def note(self, counts: Mapping[str, Any]) -> None:
        """Take note of an outbox record by the ``counts`` in its header."""
        diverted = counts.get("diverted", 0)
        if not diverted and not counts.get("events", 0):
            return
        share = _share(counts)
        self._run = self._run + 1 if share == 1 else 0
        if len(self._shares) == WINDOW:
            self._sum -= self._shares[0]
        self._shares.append(share)
        self._sum += share

    def refusal(self, counts: Mapping[str, Any]) -> str | None:
        """Tell why a record with these counts must not be diverted, too; ``None`` where it may be answered."""
        if not counts["diverted"]:
            return None
        share = _share(counts)
        if share == 1 and self._run >= self._run_limit:
            return (
                f"nothing could be used of the {self._run} records before it, either, and worker.dead_letter_run is "
                f"{self._run_limit}"
            )
        oldest = self._shares[0] if len(self._shares) == WINDOW else 0.0
        ratio = (self._sum - oldest + share) / WINDOW
        if ratio > self._ratio_limit:
            return (
                f"with it {ratio:.1%} of the last {WINDOW} records would be diverted, and worker.dead_letter_ratio is "
                f"{self._ratio_limit:g}"
            )
        return None


def _share(counts: Mapping[str, Any]) -> float:
    diverted: int = counts.get("diverted", 0)
    events: int = counts.get("events", 0)
    return min(1.0, diverted / max(1, events))
