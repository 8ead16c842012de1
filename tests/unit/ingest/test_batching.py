from hypothesis import given
from hypothesis import strategies as st

from ingest.batching import NEVER, Gathering
from ingest.packing import HEADER_ROOM, Piece
from ingest.settings import Batching
from tests.unit.ingest.conftest import MakePost

WIDE = Batching(max_events=100, interval=1.0, max_bytes=100_000)


def piece(make_post: MakePost, events: int = 1, size: int = 0, batching: Batching = WIDE) -> Piece:
    return Piece(shard=0, post=make_post(), batching=batching, events=events, event_lines=b"x" * size)


def test_nothing_is_never_due() -> None:
    gathering = Gathering(max_in_flight=2)
    assert not gathering.is_due(in_flight=0, now=1e9)
    assert gathering.closes_at == NEVER


def test_with_nothing_under_way_a_piece_is_due_at_once(make_post: MakePost) -> None:
    gathering = Gathering(max_in_flight=2)
    gathering.add(piece(make_post), now=5.0)
    assert gathering.is_due(in_flight=0, now=5.0)


def test_with_something_under_way_a_piece_waits_for_its_interval(make_post: MakePost) -> None:
    gathering = Gathering(max_in_flight=2)
    gathering.add(piece(make_post), now=5.0)
    gathering.add(piece(make_post), now=5.9)
    assert not gathering.is_due(in_flight=1, now=5.9)
    assert gathering.closes_at == 6.0
    assert gathering.is_due(in_flight=1, now=6.0)


def test_what_remains_waits_no_longer_than_it_would_have(make_post: MakePost) -> None:
    gathering = Gathering(max_in_flight=2)
    gathering.add(piece(make_post, events=60), now=0.0)
    gathering.add(piece(make_post, events=60), now=0.25)
    assert len(gathering.take()) == 1
    assert gathering.closes_at == 1.25
    assert not gathering.is_due(in_flight=1, now=1.0)
    assert gathering.is_due(in_flight=1, now=1.25)


def test_events_and_bytes_close_it_early(make_post: MakePost) -> None:
    for full in (piece(make_post, events=100), piece(make_post, size=100_000)):
        gathering = Gathering(max_in_flight=2)
        gathering.add(piece(make_post), now=0.0)
        assert not gathering.is_due(in_flight=1, now=0.0)
        gathering.add(full, now=0.0)
        assert gathering.is_due(in_flight=1, now=0.0)


def test_no_more_than_so_many_are_under_way(make_post: MakePost) -> None:
    gathering = Gathering(max_in_flight=2)
    gathering.add(piece(make_post, events=100), now=0.0)
    assert not gathering.is_due(in_flight=2, now=100.0)
    assert gathering.is_due(in_flight=1, now=100.0)


def test_a_chunk_of_several_sources_keeps_the_strictest_limits(make_post: MakePost) -> None:
    strict = Batching(max_events=3, interval=0.1, max_bytes=10_000)
    gathering = Gathering(max_in_flight=2)
    gathering.add(piece(make_post, events=2), now=0.0)
    gathering.add(piece(make_post, events=2, batching=strict), now=0.5)
    assert gathering.closes_at == 0.6
    assert gathering.is_due(in_flight=1, now=0.5)
    assert [taken.events for taken in gathering.take()] == [2]
    assert [taken.events for taken in gathering.take()] == [2]
    assert not gathering


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 90_000)), min_size=1, max_size=50))
def test_taking_keeps_order_and_limits_and_loses_nothing(sizes: list[tuple[int, int]]) -> None:
    pieces = [
        Piece(shard=0, post=None, batching=WIDE, events=events, event_lines=b"x" * size)  # type: ignore[arg-type] # not looked at here
        for events, size in sizes
    ]
    gathering = Gathering(max_in_flight=1)
    for each in pieces:
        gathering.add(each, now=0.0)
    taken: list[Piece] = []
    while gathering:
        chunk = gathering.take()
        assert sum(each.events for each in chunk) <= WIDE.max_events
        assert HEADER_ROOM + sum(each.size for each in chunk) <= WIDE.max_bytes or len(chunk) == 1
        taken += chunk
    assert taken == pieces
