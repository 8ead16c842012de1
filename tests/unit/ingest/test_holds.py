import pytest

from ingest.holds import POST_OVERHEAD, Allowance
from ingest.problems import OverloadedError


def test_a_hold_is_released_at_the_end_of_its_context() -> None:
    allowance = Allowance(100_000)
    with allowance.enter() as hold:
        hold.grow(1000)
        assert (allowance.taken, allowance.posts) == (POST_OVERHEAD + 1000, 1)
    assert (allowance.taken, allowance.posts) == (0, 0)


def test_a_hold_that_was_handed_over_is_released_once_by_its_new_owner() -> None:
    allowance = Allowance(100_000)
    with allowance.enter() as hold:
        hold.grow(1000)
        hold.hand_over()
    assert allowance.taken == POST_OVERHEAD + 1000
    hold.release()
    hold.release()
    assert allowance.taken == 0


def test_nothing_grows_beyond_the_limit() -> None:
    allowance = Allowance(2 * POST_OVERHEAD + 10)
    with allowance.enter() as hold, allowance.enter():
        hold.grow(10)
        assert allowance.is_nearly_spent
        with pytest.raises(OverloadedError):
            hold.grow(1)
        with pytest.raises(OverloadedError), allowance.enter():
            pass
        assert allowance.posts == 2
    assert (allowance.taken, allowance.posts) == (0, 0)
    assert not allowance.is_nearly_spent


def test_what_becomes_of_a_body_is_held_instead_of_it() -> None:
    allowance = Allowance(20_000)
    with allowance.enter() as one, allowance.enter() as other:
        one.grow(1000)
        one.exchange(8000)
        assert allowance.taken == 8000 + POST_OVERHEAD
        with pytest.raises(OverloadedError):
            other.exchange(12_001)
        other.exchange(12_000)
        other.exchange(10)
        assert allowance.taken == 8010
    assert allowance.taken == 0


def test_a_post_that_has_everything_to_itself_may_take_more() -> None:
    allowance = Allowance(10_000)
    with allowance.enter() as hold:
        hold.exchange(70_000)
        with pytest.raises(OverloadedError), allowance.enter():
            pass
    assert allowance.taken == 0


def test_to_foresee_takes_nothing() -> None:
    allowance = Allowance(10_000)
    with allowance.enter() as hold:
        hold.foresee(10_000 - POST_OVERHEAD)
        with pytest.raises(OverloadedError):
            hold.foresee(10_001 - POST_OVERHEAD)
        assert allowance.taken == POST_OVERHEAD
