import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.answered import ABANDONED_LIMIT, TOLD_AT_ONCE, Ledger


def told(ledger: Ledger) -> tuple[int, list[int]] | None:
    note = ledger.note()
    if note is None:
        return None
    assert note["instance"] == ledger.instance
    ledger.told(note)
    return note["through"], note["abandoned"]


def test_nothing_to_tell() -> None:
    assert told(Ledger("i")) is None


def test_nothing_is_told_beyond_an_open_post() -> None:
    ledger = Ledger("i")
    assert [ledger.open() for _ in range(3)] == [1, 2, 3]
    ledger.decide(2, abandoned=True)
    ledger.decide(3, abandoned=False)
    assert told(ledger) is None
    ledger.decide(1, abandoned=False)
    assert told(ledger) == (3, [2])
    assert told(ledger) is None


def test_a_note_that_was_not_stored_is_told_again() -> None:
    ledger = Ledger("i")
    ledger.decide(ledger.open(), abandoned=True)
    assert ledger.note() == ledger.note()
    ledger.decide(ledger.open(), abandoned=True)
    assert told(ledger) == (2, [1, 2])


def test_a_note_has_a_size_that_fits() -> None:
    ledger = Ledger("i")
    for _ in range(TOLD_AT_ONCE + 5):
        ledger.decide(ledger.open(), abandoned=True)
    first, second = told(ledger), told(ledger)
    assert first == (TOLD_AT_ONCE, list(range(1, TOLD_AT_ONCE + 1)))
    assert second == (TOLD_AT_ONCE + 5, list(range(TOLD_AT_ONCE + 1, TOLD_AT_ONCE + 6)))


@given(
    decisions=st.lists(st.booleans(), max_size=40).flatmap(
        lambda all_: st.permutations(list(enumerate(all_, start=1)))
    ),
    every=st.integers(1, 10),
)
def test_all_notes_together_tell_the_story_in_any_order(decisions: list[tuple[int, bool]], every: int) -> None:
    ledger = Ledger("i")
    for _ in decisions:
        ledger.open()
    through, abandoned, decided = 0, set[int](), dict[int, bool]()
    for count, (sequence, is_abandoned) in enumerate(decisions):
        ledger.decide(sequence, abandoned=is_abandoned)
        decided[sequence] = is_abandoned
        if count % every == 0:
            note = told(ledger)
            if note is not None:
                assert note[0] > through
                through = note[0]
                abandoned |= set(note[1])
        # What is told so far is true: everything up to the mark is decided, and as it is told.
        assert {number for number in range(1, through + 1) if decided[number]} == abandoned
    note = told(ledger)
    if note is not None:
        through, abandoned = note[0], abandoned | set(note[1])
    assert through == len(decisions)
    assert abandoned == {sequence for sequence, is_abandoned in decisions if is_abandoned}


@pytest.mark.parametrize(
    "runs",
    [
        [(ABANDONED_LIMIT + 5, True)],
        [(60_000, True), (10, False), (60_000, True), (10, False)],
        [(10, False), (ABANDONED_LIMIT, True)],
        [(30_000, False), (7, True)],
    ],
)
def test_what_cannot_be_told_does_not_grow_without_bound(runs: list[tuple[int, bool]]) -> None:
    ledger = Ledger("i")
    for length, is_abandoned in runs:
        for _ in range(length):
            ledger.decide(ledger.open(), abandoned=is_abandoned)
    all_abandoned = sum(length for length, is_abandoned in runs if is_abandoned)
    assert ledger.remembered == min(all_abandoned, ABANDONED_LIMIT)
    while ledger.note() is not None:
        told(ledger)
    assert ledger.remembered == 0
