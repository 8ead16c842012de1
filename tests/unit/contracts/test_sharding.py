"""Which partition: test vectors, and that a message's events stay together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contracts.events import EventType
from streams.contracts.sharding import shard


@pytest.mark.parametrize(
    ("source", "type_", "message_id", "recipient", "expected"),
    [
        ("cmc", "queued", "20230125.050607@example.com", "user@example.jp", (2, 2, 722)),
        ("cmc", "bounced", "20230125.050607@example.com", "other@example.jp", (2, 2, 722)),
        ("cmc", "blocked", "20230125.050607@example.com", "user@example.jp", (1, 1, 369)),
        ("cmc", "unblocked", "", "user@example.jp", (1, 1, 369)),
        ("cmc", "queued", "", "user@example.jp", (1, 1, 369)),
        ("other", "queued", "20230125.050607@example.com", "user@example.jp", (2, 14, 70)),
        ("cmc", "queued", "日本語@example.jp", "user@example.jp", (0, 12, 788)),
        ("cmc", "queued", "\ud800", "user@example.jp", (0, 12, 444)),
    ],
)
def test_vectors(source: str, type_: str, message_id: str, recipient: str, expected: tuple[int, int, int]) -> None:
    """For 4, 16 and 1000 shards. These never change: a message's history would fall apart."""
    assert tuple(shard(source, type_, message_id, recipient, shards) for shards in (4, 16, 1000)) == expected


TEXT = st.text(max_size=20)
TYPES = st.sampled_from([type_ for type_ in EventType if type_ not in {EventType.BLOCKED, EventType.UNBLOCKED}])


@given(TEXT, TYPES, TYPES, st.text(min_size=1, max_size=20), TEXT, TEXT, st.integers(1, 64))
def test_all_that_happens_to_a_message_is_in_one_shard(  # noqa: PLR0917 - Hypothesis gives them by place
    source: str, one: str, other: str, message_id: str, recipient: str, another: str, shards: int
) -> None:
    place = shard(source, one, message_id, recipient, shards)
    assert 0 <= place < shards
    assert place == shard(source, other, message_id, another, shards)


@given(TEXT, TEXT, TEXT, TEXT, st.integers(1, 64))
def test_all_that_is_known_of_an_address_is_in_one_shard(
    source: str, recipient: str, one: str, other: str, shards: int
) -> None:
    assert shard(source, "blocked", one, recipient, shards) == shard(source, "unblocked", other, recipient, shards)


def test_messages_spread_evenly() -> None:
    counts = [0] * 4
    for number in range(10_000):
        counts[shard("cmc", "queued", f"{number:08x}@mta.example.com", "user@example.jp", 4)] += 1
    assert min(counts) > 2300
