"""Which posts of this process were answered, so that it can be told in the log. Pure."""

from collections import deque
from heapq import heappop, heappush
from itertools import islice

from streams.contracts.sections import Answered

TOLD_AT_ONCE = 20_000
"""Abandoned posts that one note may name, so that it fits a record."""

ABANDONED_LIMIT = 5 * TOLD_AT_ONCE
"""Abandoned posts that are remembered until they can be told. One beyond it passes for answered: should a part of it be
stored, the books show it as missing rather than hide anything."""


class Ledger:
    """Counts the posts of one ingest instance and knows which of them are decided.

    A post is decided once it was answered: 200, or an error after its number had been drawn. By that it is abandoned if
    anything of it may be in the log; if nothing is, nobody will ever ask. So however long Kafka is away, only the few
    posts that were under way to it when it went are remembered.
    A note names only those abandoned since the note before; all notes together are the whole story.
    """

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self._drawn = 0
        self._through = 0
        self._told = 0
        self._ahead: list[tuple[int, bool]] = []  # a heap: decided and how, while an earlier one is not
        self._abandoned: deque[int] = deque()  # up to the mark, not told yet, in order

    def open(self) -> int:
        """Draw the number of the next post; it must be decided some time."""
        self._drawn += 1
        return self._drawn

    @property
    def remembered(self) -> int:
        """How many abandoned posts are to be told of."""
        return len(self._abandoned)

    def decide(self, sequence: int, *, abandoned: bool) -> None:
        """Note how a post ended.

        Args:
            sequence: its number.
            abandoned: its sender was told to try again, and a part of it may be in the log.
        """
        heappush(self._ahead, (sequence, abandoned))
        while self._ahead and self._ahead[0][0] == self._through + 1:
            self._through, was_abandoned = heappop(self._ahead)
            if was_abandoned and len(self._abandoned) < ABANDONED_LIMIT:
                self._abandoned.append(self._through)

    def note(self) -> Answered | None:
        """Write down what was decided since the last note that was told; ``None`` if that is nothing."""
        if self._through == self._told:
            return None
        is_long = len(self._abandoned) > TOLD_AT_ONCE
        through = self._abandoned[TOLD_AT_ONCE] - 1 if is_long else self._through
        abandoned = list(islice(self._abandoned, TOLD_AT_ONCE))
        return {"instance": self.instance, "through": through, "abandoned": abandoned}

    def told(self, note: Answered) -> None:
        """Take it that a note has become durable."""
        self._told = note["through"]
        while self._abandoned and self._abandoned[0] <= self._told:
            self._abandoned.popleft()
