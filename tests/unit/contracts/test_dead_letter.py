"""What could not be read is kept to the byte."""

import base64

from hypothesis import given
from hypothesis import strategies as st

from streams.contracts.dead_letter import PART_LIMIT, split
from streams.contracts.topics import CHUNK_LIMIT


@given(st.binary(max_size=100), st.integers(0, 4))
def test_parts_give_back_the_whole(tail: bytes, full_parts: int) -> None:
    raw = b"x" * (full_parts * PART_LIMIT) + tail
    parts = list(split(raw))

    assert b"".join(base64.b64decode(piece) for _, _, piece in parts) == raw
    assert [part for part, _, _ in parts] == list(range(len(parts)))
    assert {total for _, total, _ in parts} == {len(parts)}
    assert len(parts) == max(1, -(-len(raw) // PART_LIMIT))


def test_nothing_at_all_is_one_part() -> None:
    assert list(split(b"")) == [(0, 1, "")]


def test_a_part_fits_a_chunk() -> None:
    ((_, _, piece),) = split(bytes(PART_LIMIT))
    assert len(piece) < CHUNK_LIMIT - 100_000
