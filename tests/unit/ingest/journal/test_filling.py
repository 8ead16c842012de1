from hypothesis import given
from hypothesis import strategies as st

from ingest.batching import NEVER
from ingest.journal.filling import Filling, joined
from ingest.packing import HEADER_ROOM, Piece
from ingest.settings import Batching
from streams.contracts import codec

WIDE = Batching(max_events=100, interval=600, max_bytes=100_000)


def piece(events: int = 1, *, shard: int = 0, size: int = 0, batching: Batching = WIDE) -> Piece:
    return Piece(shard=shard, post=None, batching=batching, events=events, event_lines=b"x" * size)  # type: ignore[arg-type] # not looked at here


def idle(_: int) -> bool:
    return False


def busy(_: int) -> bool:
    return True


def test_a_chunk_stays_open_for_its_interval() -> None:
    filling = Filling(first=7)
    assert filling.next_due(idle) == NEVER
    assert [filling.place(piece(), 0.0), filling.place(piece(), 599.0)] == [7, 7]
    assert filling.complete(599.9, idle) == []
    assert filling.next_due(idle) == 600.0
    assert filling.complete(600.0, idle) == [7]
    assert filling.complete(9999.0, idle) == []
    assert filling.place(piece(), 600.0) == 8


def test_the_shortest_interval_counts() -> None:
    filling = Filling(first=1)
    filling.place(piece(), 0.0)
    filling.place(piece(batching=Batching(interval=1)), 5.0)
    assert filling.next_due(idle) == 6.0


def test_a_busy_shard_gathers_on() -> None:
    filling = Filling(first=1)
    filling.place(piece(), 0.0)
    assert filling.next_due(busy) == NEVER
    assert filling.complete(601.0, busy) == []
    assert filling.place(piece(), 601.0) == 1
    assert filling.complete(601.0, idle) == [1]


def test_a_full_chunk_is_complete_at_once() -> None:
    filling = Filling(first=1)
    filling.place(piece(events=100), 0.0)
    assert filling.complete(0.0, busy) == [1]
    filling.place(piece(events=60), 0.0)
    assert filling.place(piece(events=60), 0.0) == 3
    assert filling.complete(0.0, busy) == [2]
    assert filling.complete(NEVER, busy) == [3]


def test_shards_fill_chunks_of_their_own() -> None:
    filling = Filling(first=1)
    assert [filling.place(piece(shard=shard), 0.0) for shard in (0, 3, 0, 3)] == [1, 2, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 100), st.integers(0, 90_000)), max_size=60))
def test_chunks_keep_order_and_limits_and_lose_nothing(sizes: list[tuple[int, int, int]]) -> None:
    filling = Filling(first=1)
    chunks: dict[int, list[Piece]] = {}
    for shard, events, size in sizes:
        each = piece(events, shard=shard, size=size)
        chunks.setdefault(filling.place(each, 0.0), []).append(each)
    assert sorted(filling.complete(NEVER, busy)) == sorted(chunks)
    for number, pieces in chunks.items():
        assert number > 0
        assert len({each.shard for each in pieces}) == 1
        assert sum(each.events for each in pieces) <= WIDE.max_events
        assert HEADER_ROOM + sum(each.size for each in pieces) <= WIDE.max_bytes or len(pieces) == 1
    for shard in range(3):
        numbers = [number for number, pieces in chunks.items() if pieces[0].shard == shard]
        assert numbers == sorted(numbers)


def test_records_are_joined_section_by_section() -> None:
    first = codec.encode({"received_at": "2026-03-02"}, {"events": b"1\n", "receipts": b"a\n"})
    second = codec.encode({"received_at": "2026-03-01"}, {"receipts": b"b\n", "dead_letters": b"c\n"})
    assert joined([first]) == first
    record = codec.decode(joined([first, second]))
    assert record.header["received_at"] == "2026-03-02"
    assert record.sections == {"events": b"1\n", "receipts": b"a\nb\n", "dead_letters": b"c\n"}
