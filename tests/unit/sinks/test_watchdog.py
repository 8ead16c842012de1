"""What counts as standing still."""

from collections.abc import Collection, Mapping

import pytest

from sinks.destination import Destination
from sinks.errors import UnreachableError
from sinks.watchdog import LOOKS, Sight, Standing

MANY = 10 * LOOKS


def sight(
    *,
    end: int = 10,
    committed: int | None = 4,
    read: int | None = 10,
    assigned: Collection[int] | None = (0,),
    rests: bool = False,
) -> Sight:
    """See a sink with one partition, whose block is in hand."""
    at: Mapping[int, int] = {} if read is None else {0: read}
    return Sight(
        ends={0: end, 1: 99},
        committed={} if committed is None else {0: committed},
        assigned=assigned,
        read=at,
        rests=rests,
    )


def looks_until_it_stands(standing: Standing, seen: Sight) -> int:
    """Tell how many of the same looks it takes, the first one included."""
    return next(number for number in range(1, MANY) if standing.judge(seen) is not None)


@pytest.mark.parametrize(
    "seen",
    [
        sight(),
        sight(read=7, rests=True),
        sight(read=None),
        sight(committed=None, read=None),
    ],
    ids=["in the middle of a round", "fetching", "not taken over", "never committed"],
)
def test_what_stays_the_same_with_something_to_do_stands(seen: Sight) -> None:
    assert looks_until_it_stands(Standing(), seen) == LOOKS + 1


def test_it_says_what_stands_and_where() -> None:
    standing = Standing()
    said = [standing.judge(sight(read=7)) for _ in range(LOOKS + 1)]
    assert said[-1] == "partition 0 stands at offset 4, read up to 7 of 10,"


def test_a_partition_that_waits_for_what_is_not_there_yet_does_not_stand_while_another_is_flooded() -> None:
    standing = Standing()
    for number in range(MANY):
        busy = Sight(
            ends={0: 10, 1: 99 + number},
            committed={0: 4, 1: number},
            assigned=(0, 1),
            read={0: 10, 1: number + 5},
            rests=False,
        )
        assert standing.judge(busy) is None


def test_a_log_that_grows_meanwhile_is_no_progress() -> None:
    standing = Standing()
    assert any(standing.judge(sight(end=10 + number)) for number in range(LOOKS + 1))


def test_what_is_read_again_and_again_is_no_progress() -> None:
    standing = Standing()
    assert any(standing.judge(sight(read=10 - number % 5)) for number in range(LOOKS + 1))


def test_one_partition_that_stands_is_seen_beside_one_that_does_not() -> None:
    standing = Standing()
    said = [
        standing.judge(
            Sight(ends={0: 99, 1: 99}, committed={0: number, 1: 5}, assigned=(0, 1), read={0: 99, 1: 5}, rests=False)
        )
        for number in range(LOOKS + 1)
    ]
    assert said[-1] is not None
    assert "partition 1" in said[-1]


def test_progress_begins_the_count_again() -> None:
    standing = Standing()
    for number in range(MANY):
        assert standing.judge(sight(end=MANY, committed=number // LOOKS, read=MANY)) is None
    for number in range(MANY):
        assert standing.judge(sight(end=MANY, read=number // LOOKS)) is None
    for number in range(MANY):  # also backwards, as where a position was set back
        assert standing.judge(sight(end=MANY, committed=MANY - 1 - number // LOOKS)) is None


@pytest.mark.parametrize(
    "seen",
    [
        sight(end=0, committed=None, read=None),
        sight(committed=10),
        sight(read=10, rests=True),
        sight(assigned=()),
    ],
    ids=["empty log", "all delivered", "waits for what is not in the log yet", "others have the partitions"],
)
def test_with_nothing_to_do_nothing_stands(seen: Sight) -> None:
    standing = Standing()
    assert not any(standing.judge(seen) for _ in range(MANY))


def test_a_sink_that_stays_out_of_its_group_stands() -> None:
    standing = Standing()
    outside = sight(assigned=None)
    assert looks_until_it_stands(standing, outside) == LOOKS
    assert standing.judge(sight(committed=10)) is None
    assert looks_until_it_stands(standing, outside) == LOOKS


def test_a_look_that_tells_nothing_begins_the_count_again() -> None:
    standing = Standing()
    for seen in (sight(), sight(assigned=None)):
        for number in range(MANY):
            if number % LOOKS == LOOKS - 1:
                standing.clear()
            else:
                assert standing.judge(seen) is None
        standing.clear()


def test_a_destination_is_waited_for_from_its_refusal_to_its_next_answer() -> None:
    destination = Destination()
    with destination.asked():
        assert destination.is_waited_for
    assert not destination.is_waited_for

    with pytest.raises(UnreachableError), destination.asked():
        raise UnreachableError
    assert destination.is_waited_for
    with destination.asked():
        pass
    assert not destination.is_waited_for

    destination.lacks()
    assert destination.is_waited_for
    destination.forget()
    assert not destination.is_waited_for
