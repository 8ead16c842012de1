"""Warnings that a flood cannot multiply: the first at once, the rest as a number now and then."""

import logging
from typing import Final

from streams.contracts.clock import Clock

INTERVAL: Final = 60.0
"""Seconds between two warnings of one kind."""


class Alarm:
    """Logs a warning at most once in `INTERVAL` seconds for each key, and how many there were meanwhile."""

    def __init__(self, logger: logging.Logger, message: str, clock: Clock) -> None:
        """Describe it.

        Args:
            logger: where to.
            message: with two places, ``%s`` for the key and ``%d`` for the number of times.
            clock: tells the time.
        """
        self._logger = logger
        self._message = message
        self._clock = clock
        self._silent_until: dict[str, float] = {}
        self._times: dict[str, int] = {}

    def ring(self, key: str) -> None:
        """Note that it happened once more."""
        self._times[key] = self._times.get(key, 0) + 1
        now = self._clock.monotonic()
        if now >= self._silent_until.get(key, now):
            self._logger.warning(self._message, key, self._times.pop(key))
            self._silent_until[key] = now + INTERVAL
