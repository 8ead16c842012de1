"""What the processes write of their doings: one line each, for people or for machines."""

import json
import logging
import math
import sys
from datetime import UTC, datetime

from streams.contracts.clock import rfc3339

NOISY = ("aiokafka", "aiohttp.access", "clickhouse_connect", "faust", "mode", "urllib3", "asyncio")
"""Loggers of libraries that tell at the level "info" what only their developers want to know."""
REPEATED_AFTER = 30.0
"""Seconds after which a library's message is news again."""
REMEMBERED = 1000
"""Messages that are remembered for that."""


class TextFormatter(logging.Formatter):
    """``2026-01-25T05:06:07.123Z WARNING streams.state: message``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record, a traceback below it if there is one."""
        moment = rfc3339(datetime.fromtimestamp(record.created, UTC))
        text = f"{moment} {record.levelname:<7} {record.name}: {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        line = {
            "time": rfc3339(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Unrepeated(logging.Filter):
    """Lets a library say the same thing once in a while: an hour without Kafka shall not fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is news."""
        if not record.name.startswith(NOISY):
            return True
        words = (record.name, record.getMessage())
        if record.created - self._said.get(words, -math.inf) < REPEATED_AFTER:
            return False
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[words] = record.created
        return True


def set_up(role: str, *, form: str, level: str, is_brief: bool = False) -> None:
    """Send everything that this process logs to standard error, in one form.

    Args:
        role: who logs.
        form: text or json.
        level: what is logged.
        is_brief: for a command that tells its own failure in a sentence: libraries are not heard about it before.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Unrepeated())
    handler.setFormatter(JsonFormatter(role) if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    if level != "debug":
        for name in NOISY:
            logging.getLogger(name).setLevel(logging.CRITICAL if is_brief else logging.WARNING)
