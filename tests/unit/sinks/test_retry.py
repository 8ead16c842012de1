from sinks.retry import Pauses


def test_pauses_double_up_to_a_limit_and_begin_again() -> None:
    pauses = Pauses(0.2, 1.0)

    longest = [0.2, 0.4, 0.8, 1.0, 1.0]
    for limit in longest:
        assert limit / 2 <= pauses.next() <= limit
    pauses.reset()
    assert pauses.next() <= 0.2
