"""What is told of posts that are in the journal, against a plain account of what is where."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.journal.contents import Contents
from ingest.journal.entries import Chunk, Entry, Run


def entry(chunk: int, *posts: int, run: int = 1, size: int = 100, at: int = 0) -> Entry:
    return Entry(
        chunk=chunk,
        shard=chunk % 3,
        run=run,
        first_post=min(posts),
        last_post=max(posts),
        posts=len(posts),
        accepted_at=at,
        content=bytes(size),
    )


def begun(*chunks: Chunk) -> Contents:
    contents = Contents(chunks, [])
    assert contents.begin_run(Run(id=1, instance="i", last_post=0)) == []
    return contents


def through(contents: Contents) -> dict[str, int]:
    return {note["instance"]: note["through"] for note in contents.notes()}


def test_nothing_is_told_of_what_is_not_in_kafka() -> None:
    contents = begun()
    contents.add([entry(1, 1, 2), entry(2, 2, 3)])
    assert contents.notes() == []
    assert (contents.posts, contents.oldest, contents.next_chunk, contents.last_shard) == (4, 0, 3, 2)
    contents.remove([contents.chunks[1]])
    assert contents.notes() == [{"instance": "i", "through": 1, "abandoned": []}]
    contents.remove([contents.chunks[2]])
    assert through(contents) == {"i": 3}
    assert (contents.bytes, contents.posts, contents.oldest) == (0, 0, None)
    for note in contents.notes():
        assert contents.told(note) == []
    assert contents.notes() == []


def test_a_former_run_is_told_to_its_end_and_forgotten() -> None:
    chunk = Chunk.begun_by(entry(4, 8, 9, run=1))
    chunk.add(entry(4, 8, 9, run=1))
    former, told, empty = (Run(id=number, instance=name, last_post=last) for number, name, last in FORMER)
    contents = Contents([chunk], [former, told, empty])
    assert contents.begin_run(Run(id=4, instance="d", last_post=0)) == [3]
    assert through(contents) == {"a": 7, "b": 5}
    first, second = contents.notes()
    assert (contents.told(first), contents.told(second)) == ([], [2])
    contents.remove([chunk])
    (last,) = contents.notes()
    assert last == {"instance": "a", "through": 9, "abandoned": []}
    assert contents.told(last) == [1]
    assert contents.notes() == []


FORMER = ((1, "a", 6), (2, "b", 5), (3, "c", 0))


@given(
    posts=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True), max_size=20),
    order=st.randoms(use_true_random=False),
)
def test_what_is_told_is_in_kafka_and_in_the_end_all_is_told(posts: list[list[int]], order: object) -> None:
    contents = begun()
    chunks_of: dict[int, set[int]] = {}
    for number, shards in enumerate(posts, start=1):
        chunks = [3 * (number // 4) + shard + 1 for shard in shards]
        contents.add([entry(chunk, number) for chunk in chunks])
        chunks_of[number] = set(chunks)
    left = list(contents.chunks.values())
    order.shuffle(left)  # type: ignore[attr-defined] # a random.Random
    there: set[int] = set()
    for chunk in left:
        contents.remove([chunk])
        there.add(chunk.number)
        for note in contents.notes():
            assert all(chunks_of[number] <= there for number in range(1, note["through"] + 1))
            contents.told(note)
    assert contents.notes() == []
    assert contents._told == ({"i": len(posts)} if posts else {})
