"""How much the journal may hold, and telling in time that it fills."""

import logging
from pathlib import Path

from ingest.alarms import Alarm
from ingest.problems import JournalFullError
from streams.contracts.clock import Clock

logger = logging.getLogger(__name__)


class Room:
    """The limit. Is told what is taken each time."""

    def __init__(self, limit: int, folder: Path, clock: Clock) -> None:
        """Describe it.

        Args:
            limit: bytes that posts may take.
            folder: of the journal, for what is logged.
            clock: tells the time.
        """
        self._limit = limit
        self._folder = folder
        self._refusals = Alarm(logger, "%s: posts are refused, %d times since the last warning", clock)
        self._filling = Alarm(
            logger,
            "the journal in %s is more than half full, seen %d times since the last warning: is Kafka away or slow?",
            clock,
        )

    def is_nearly_full(self, taken: int) -> bool:
        """Tell whether nine tenths are taken, when other processes should get the posts."""
        return taken * 10 >= self._limit * 9

    def check(self, taken: int, more: int = 1) -> None:
        """See whether there is room for so many bytes more.

        A post that has the journal to itself may take more than there is, or it could never be taken.

        Raises:
            JournalFullError: there is not.
        """
        if taken and taken + more > self._limit:
            self.tell_of_refusal(f"the journal in {self._folder} is full")
            raise JournalFullError(
                "the journal is full and Kafka takes nothing from it, or less than comes: try again later"
            )

    def tell_of_refusal(self, why: str) -> None:
        """Warn that posts are refused."""
        self._refusals.ring(why)

    def watch(self, taken: int) -> None:
        """Warn if the journal is more than half full."""
        if taken * 2 > self._limit:
            self._filling.ring(str(self._folder))
