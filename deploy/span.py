"""A span of time as one names it on the command line: moments, or how long ago."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from streams.contracts.clock import rfc3339
from streams.contracts.errors import ConfigurationError

AGO = re.compile(r"(\d+)\s*([smhd])")
LAST = "~"
"""Sorts behind every time."""
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
FORMS = "a time like 2026-03-02T09:00:00Z (UTC where it names no zone), or how long ago: 90s, 30m, 2h, 7d"


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """From ``since`` on and before ``until``; ``None`` is no bound."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_all(self) -> bool:
        """Tell whether it has no bound."""
        return self.since is None and self.until is None

    def condition(self, column: str) -> str:
        """Write it as SQL over a column of type DateTime64(3, 'UTC')."""
        bounds = ((">=", self.since), ("<", self.until))
        parts = [f"{column} {sign} '{_sql(moment)}'" for sign, moment in bounds if moment is not None]
        return " and ".join(parts) or "true"

    @property
    def texts(self) -> tuple[str, str]:
        """Give both bounds in the form of `streams.contracts.clock.rfc3339`, which sorts as times do."""
        return ("" if self.since is None else rfc3339(self.since), LAST if self.until is None else rfc3339(self.until))

    def __str__(self) -> str:
        told = [f"{word} {_sql(at)}" for word, at in (("since", self.since), ("until", self.until)) if at is not None]
        return " ".join(told) or "all of the time"


ALL = Span()


def span(since: str | None, until: str | None, now: datetime) -> Span:
    """Read both bounds of a span.

    Raises:
        ConfigurationError: one of them is no time, or there is nothing between them.
    """
    read = Span(since=_moment("--since", since, now), until=_moment("--until", until, now))
    if read.since is not None and read.until is not None and read.since >= read.until:
        raise ConfigurationError(f"nothing lies between --since {since} and --until {until}")
    return read


def _moment(flag: str, text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    ago = AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(f"{flag} {text!r} is no time: write {FORMS}") from error


def _sql(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
