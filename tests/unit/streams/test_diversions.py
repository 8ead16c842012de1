"""When the worker stops instead of diverting more."""

from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from streams.diversions import WINDOW, Diversions
from streams.outcome import Counts

GOOD = asdict(Counts(events=10, unique=10))
LOST = asdict(Counts(events=10, dead_letters=10, diverted=10))
UNREADABLE = asdict(Counts(dead_letters=1, diverted=1))
HALF = asdict(Counts(events=10, unique=5, dead_letters=5, diverted=5))
OF_INGEST = asdict(Counts(events=0, dead_letters=5))


def after(*records: dict[str, int], run: int = 3, ratio: float = 0.05) -> Diversions:
    diversions = Diversions(run=run, ratio=ratio)
    for counts in records:
        diversions.note(counts)
    return diversions


def test_some_in_a_row_are_diverted_and_the_next_one_is_not() -> None:
    for record in (LOST, UNREADABLE):
        assert after(*[record] * 2).refusal(record) is None
        assert "dead_letter_run is 3" in (after(*[record] * 3).refusal(record) or "")


def test_a_record_of_which_something_is_used_ends_the_row() -> None:
    for used in (GOOD, HALF):
        assert after(LOST, LOST, LOST, used).refusal(LOST) is None


def test_what_holds_no_event_neither_ends_the_row_nor_lengthens_it() -> None:
    nothing = asdict(Counts())
    assert after(LOST, LOST, nothing, OF_INGEST, nothing).refusal(LOST) is None
    assert after(LOST, LOST, LOST, nothing, OF_INGEST).refusal(LOST) is not None


def test_what_ingest_put_aside_does_not_count() -> None:
    mixed = asdict(Counts(events=10, unique=10, dead_letters=10))
    assert after(*[mixed] * 10 * WINDOW, ratio=0, run=0).refusal(mixed) is None


def test_a_share_of_the_latest_records_is_diverted_and_no_more() -> None:
    rhythm = [HALF, *[GOOD] * 9]
    assert after(*rhythm * 99, ratio=0.05).refusal(HALF) is None
    assert "dead_letter_ratio is 0.04" in (after(*rhythm * 99, ratio=0.04).refusal(HALF) or "")
    assert after(*[HALF] * 90, *[GOOD] * WINDOW, ratio=0.04).refusal(HALF) is None


def test_a_good_record_is_always_answered() -> None:
    assert after(*[LOST] * 100, run=0, ratio=0).refusal(GOOD) is None


def test_a_log_of_before_this_was_counted_is_good() -> None:
    old = {"events": 10, "unique": 0, "duplicates": 0, "dead_letters": 10, "lifecycles": 0}
    assert after(*[old] * 10).refusal(LOST) is None


@given(st.lists(st.sampled_from([GOOD, LOST, UNREADABLE, HALF, OF_INGEST])), st.integers(0, 5), st.floats(0, 0.02))
def test_starting_again_and_again_diverts_nothing_more(records: list[dict[str, int]], run: int, ratio: float) -> None:
    """Whoever reads what was answered refuses the same record as who answered it."""
    answered: list[dict[str, int]] = []
    live = Diversions(run=run, ratio=ratio)
    for record in records:
        refused = live.refusal(record)
        assert after(*answered, run=run, ratio=ratio).refusal(record) == refused
        if refused is None:
            live.note(record)
            answered.append(record)
