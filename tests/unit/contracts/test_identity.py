"""Who is who: test vectors that every implementation must meet, and what they stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contracts.identity import event_id, message_id, recipient

PARTS = (
    "cmc",
    "pro",
    "deliveries",
    "20230125.050607@example.com",
    "user@example.jp",
    "succeeded",
    "2023-01-25 14:06:07",
    "",
    "",
    "192.0.2.17",
)


@pytest.mark.parametrize(
    ("parts", "multiplicity", "expected"),
    [
        (PARTS, 0, "166510b0471fa64adc95fc742a558733"),
        (PARTS, 1, "ad8b37e4faa95829b9fb23fc10dd7aee"),
        (("generic", "id", "4711"), 0, "1ca5741d90bdc6b5302cd74dd2b1337f"),
        (("cmc", "", "", "", "", "", "", "", "", ""), 0, "bad49a0ec950b982cc2427e4d59ef929"),
        (("日本", "語"), 0, "576a54e4fef57ea42a3bbd85ba3d974a"),
        (("\ud800",), 0, "b4fe3de0239399efbfffc79686f435f9"),
    ],
)
def test_vectors(parts: tuple[str, ...], multiplicity: int, expected: str) -> None:
    """These never change: an event that was counted under one id would count again under another."""
    assert event_id(parts, multiplicity) == expected


@given(st.lists(st.text(st.characters(exclude_characters="\x1f"), max_size=6), min_size=1, max_size=4))
def test_parts_do_not_run_into_each_other(parts: list[str]) -> None:
    for at in range(len(parts)):
        moved = [*parts[:at], parts[at] + "x", *parts[at + 1 :]]
        assert event_id(moved) != event_id(parts)
    assert event_id([*parts, ""]) != event_id(parts)


@pytest.mark.parametrize(
    ("one", "multiplicity", "other"),
    [
        (("a", "b", "c"), 0, ("a", "b\x1fc", "")),
        (("a", "b", "c"), 0, ("a\x1fb", "c", "")),
        (("a", "", "b"), 0, ("a", "\x1f", "b")),
        (("a", "b"), 1, ("a", "b\x1f1")),
        (("app", "id", "7"), 0, ("app", "id\x1f7", "")),
        (("a\x1f", "b"), 0, ("a", "\x1fb")),
    ],
)
def test_a_separator_in_a_part_makes_no_other_event_of_it(
    one: tuple[str, ...], multiplicity: int, other: tuple[str, ...]
) -> None:
    """A reason holds what a foreign mail server says; it must not be able to make another event vanish."""
    assert event_id(one, multiplicity) != event_id(other)


def test_two_equal_events_of_one_post_are_two() -> None:
    assert len({event_id(PARTS, number) for number in range(10)}) == 10


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("<a@example.com>", "a@example.com"),
        ("  <a@example.com> \n", "a@example.com"),
        ("< a@example.com >", "a@example.com"),
        ("a@example.com", "a@example.com"),
        ("<a@example.com", "<a@example.com"),
        ("", ""),
        ("<>", ""),
    ],
)
def test_message_ids_lose_their_brackets(raw: str, expected: str) -> None:
    assert message_id(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("User@Example.JP", "User@example.jp"),
        (" user@example.jp ", "user@example.jp"),
        ('"a@B"@Example.com', '"a@B"@example.com'),
        ("nobody", "nobody"),
        ("", ""),
    ],
)
def test_recipients_keep_the_case_of_their_local_part(raw: str, expected: str) -> None:
    assert recipient(raw) == expected
