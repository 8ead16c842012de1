"""Times have one form, so that their texts sort as they do."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from streams.contracts.clock import Deadline, SystemClock, rfc3339

MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - Hypothesis wants bounds without a zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001 - as above
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-3, minutes=-30))]),
)


@given(MOMENTS)
def test_a_time_survives_its_text_to_the_millisecond(moment: datetime) -> None:
    text = rfc3339(moment)
    assert len(text) == 24
    assert datetime.fromisoformat(text) == moment - timedelta(microseconds=moment.microsecond % 1000)


@given(MOMENTS, MOMENTS)
def test_texts_sort_as_their_times(one: datetime, other: datetime) -> None:
    if one <= other:
        assert rfc3339(one) <= rfc3339(other)
    else:
        assert rfc3339(one) >= rfc3339(other)


def test_the_form() -> None:
    assert rfc3339(datetime(2023, 1, 25, 14, 6, 7, 89_999, timezone(timedelta(hours=9)))) == "2023-01-25T05:06:07.089Z"


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


def test_a_deadline_runs_out_and_not_below_zero() -> None:
    clock = HandClock()
    deadline = Deadline(5, clock)
    assert deadline.remaining() == 5
    clock.seconds += 3
    assert deadline.remaining() == 2
    clock.seconds += 3
    assert deadline.remaining() == 0


def test_the_machine_has_a_clock() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() <= clock.monotonic()
