import logging
from datetime import UTC, datetime

import pytest

from ingest.alarms import INTERVAL, Alarm


class HandClock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


def test_the_first_at_once_and_the_rest_as_a_number(caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock()
    alarm = Alarm(logging.getLogger("test"), "%s rang %d times", clock)
    for _ in range(5):
        alarm.ring("a")
    alarm.ring("b")
    clock.seconds += INTERVAL
    alarm.ring("a")
    assert [record.getMessage() for record in caplog.records] == ["a rang 1 times", "b rang 1 times", "a rang 5 times"]
