from dataclasses import replace

from deploy.audit import Books, Count
from deploy.progress import Stage

BALANCED = Books(
    stages=(Stage(name="worker", behind=0),),
    by_status={"balanced": Count(receipts=2, accepted=10, unique=6, duplicate=3, dead_lettered=1)},
    events=6,
    dead_letters=1,
    losses=0,
)


def test_books_that_balance_have_no_problems() -> None:
    assert BALANCED.problems() == []


def test_what_was_never_answered_is_no_problem() -> None:
    unanswered = Count(receipts=1, accepted=5, unique=2)
    books = replace(BALANCED, by_status={**BALANCED.by_status, "unanswered": unanswered}, events=8)

    assert books.problems() == []
    assert books.total == Count(receipts=3, accepted=15, unique=8, duplicate=3, dead_lettered=1)


def test_each_thing_that_does_not_fit_is_told() -> None:
    missing = Count(receipts=1, accepted=5, unique=2)
    books = replace(
        BALANCED,
        stages=(Stage(name="worker", behind=4),),
        by_status={**BALANCED.by_status, "missing": missing},
        dead_letters=0,
        losses=1,
    )

    assert books.problems() == [
        "worker is 4 records behind",
        "1 answered posts are not complete: 3 of their events are missing",
        "events: 6 rows, where the receipts count 8 unique ones",
        "dead letters: 0 rows, where the receipts count 1",
        "1 spans of the log were gone before they could be read",
    ]


def test_what_was_counted_twice_is_told_even_where_the_rows_agree() -> None:
    excess = Count(receipts=1, accepted=5, unique=7)
    books = replace(BALANCED, by_status={**BALANCED.by_status, "excess": excess}, events=13)

    assert books.problems() == ["1 posts have more than they brought: 2 of their events were counted twice"]
