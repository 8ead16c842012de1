"""How long to wait until something is tried again."""

import random


class Pauses:
    """Pauses that double up to a limit, each shortened by chance, so that many who failed together come back apart."""

    def __init__(self, first: float, limit: float) -> None:
        """Begin with the shortest pause; both in seconds."""
        self._first = first
        self._limit = limit
        self._next = first

    def next(self) -> float:
        """Tell the seconds to wait now."""
        pause, self._next = self._next, min(self._next * 2, self._limit)
        return pause * random.uniform(0.5, 1)  # noqa: S311 - no secret depends on it

    def reset(self) -> None:
        """Begin again with the shortest pause."""
        self._next = self._first
