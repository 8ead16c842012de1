"""When rows are no longer put aside."""

import pytest

from sinks.breaker import LEAST, NOTHING, WINDOW, Limits, Tally
from sinks.errors import BreakerError


def put_aside(tally: Tally, limits: Limits, *, at_most: int = 10**6) -> int:
    """Put rows aside as long as that is allowed; tell how many."""
    number = 0
    while number < at_most and tally.may_put_aside(limits):
        tally.put_aside()
        number += 1
    return number


def test_a_run_has_a_limit() -> None:
    assert put_aside(Tally(), Limits(run=5, ratio=1)) == 5


def test_a_row_that_is_taken_ends_the_run() -> None:
    tally, limits = Tally(), Limits(run=5, ratio=1)
    put_aside(tally, limits)

    tally.took(0)
    assert not tally.may_put_aside(limits)
    tally.took(1)
    assert put_aside(tally, limits) == 5


def test_a_share_has_a_limit() -> None:
    tally, limits = Tally(), Limits(run=10**6, ratio=0.01)
    assert put_aside(tally, limits) == LEAST // 100

    tally.took(WINDOW // 2)
    assert put_aside(tally, limits) == WINDOW // 200 - LEAST // 100


def test_what_is_long_ago_counts_less_and_less() -> None:
    tally, limits = Tally(), Limits(run=10**6, ratio=0.01)
    put_aside(tally, limits)

    tally.took(10 * WINDOW)

    assert tally.refused == 0
    assert tally.rows <= WINDOW


def test_where_nothing_may_be_put_aside_the_first_row_stops() -> None:
    with pytest.raises(BreakerError, match=r"partition 3 .*a row.*sink\.x\.dead_letter_run"):
        Tally().require(NOTHING, partition=3, what="a row", setting="sink.x")
