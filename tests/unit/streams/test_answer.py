"""Every inbox record has an answer."""

import base64
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.answer import VALUE_LIMIT, answer, found, repeat
from streams.contracts.chain import Chain, Link
from streams.contracts.codec import decode, encode
from streams.contracts.dead_letter import PART_LIMIT, Reason
from streams.contracts.events import Event
from streams.contracts.sections import Loss, Outbox
from streams.inbox import InboxRecord
from streams.state import BEGINNING, PartitionState
from tests.chunks import RECEIVED, make_chunk, make_event, rows


def founded(stamp: int = -1) -> PartitionState:
    state = PartitionState(horizon_hours=24)
    state.apply(decode(found(stamp, None, BEGINNING, [])))
    return state


def inbox(value: bytes, offset: int = 0) -> InboxRecord:
    return InboxRecord(topic="inbox", shard=3, offset=offset, at=RECEIVED, value=value)


def raw_of(letters: list[dict[str, str]]) -> bytes:
    return b"".join(base64.b64decode(letter["raw_base64"]) for letter in letters)


def test_an_answer_continues_the_chain() -> None:
    state = founded(stamp=6)
    told = answer(inbox(make_chunk([make_event()]), 9), state, [], "1.0")

    header = decode(told.value).header
    assert (header["stamp"], header["previous"], header["epoch"]) == (9, 6, state.chain.epoch)
    assert (header["form"], header["time"]) == (1, RECEIVED)
    counts = {"events": 1, "unique": 1, "duplicates": 0, "dead_letters": 0, "diverted": 0, "lifecycles": 1}
    assert header["counts"] == counts


def test_the_same_record_after_the_same_history_has_the_same_answer() -> None:
    state = founded()
    chunk = make_chunk([make_event(message_id=f"{number}@example.com") for number in range(50)], raw_lines=[b"{"])
    assert answer(inbox(chunk), state, [], "1.0").value == answer(inbox(chunk), state, [], "1.0").value


def test_losses_are_told_with_it() -> None:
    loss = Loss(shard=3, first=0, last=4, found_at=RECEIVED)
    told = answer(inbox(make_chunk(), 5), founded(), [loss], "1.0")
    assert rows(told.value, Outbox.LOSSES) == [loss]


@given(st.binary(max_size=300))
def test_whatever_stands_in_the_log_has_an_answer(value: bytes) -> None:
    logging.disable(logging.CRITICAL)
    try:
        told = answer(inbox(value), founded(), [], "1.0")
    finally:
        logging.disable(logging.NOTSET)
    assert decode(told.value).header["stamp"] == 0


JSON_LINES = st.lists(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["receipt", "events", "id", "source", "x"]), inner, max_size=3)
        ),
    ).map(lambda row: json.dumps(row).encode() + b"\n"),
    max_size=3,
).map(b"".join)


@given(st.dictionaries(st.sampled_from(["events", "receipts", "dead_letters", "answered"]), JSON_LINES))
def test_whatever_stands_in_the_sections_has_an_answer(sections: dict[str, bytes]) -> None:
    logging.disable(logging.CRITICAL)
    try:
        told = answer(inbox(encode({}, sections)), founded(), [], "1.0")
    finally:
        logging.disable(logging.NOTSET)
    assert decode(told.value).header["stamp"] == 0


def test_a_record_whose_receipts_are_nested_beyond_measure_is_kept_whole() -> None:
    raw = encode({}, {"receipts": b'{"later":' + b"[" * 100_000 + b"\n"})
    assert raw_of(rows(answer(inbox(raw), founded(), [], "1.0").value, Outbox.DEAD_LETTERS)) == raw


def test_a_record_that_cannot_be_taken_apart_is_kept_whole(caplog: pytest.LogCaptureFixture) -> None:
    raw = b"\x00garbage" * 200_000
    told = answer(inbox(raw), founded(), [], "1.0")

    letters = rows(told.value, Outbox.DEAD_LETTERS)
    assert raw_of(letters) == raw
    assert [letter["part"] for letter in letters] == list(range(-(-len(raw) // PART_LIMIT)))
    assert {letter["reason"] for letter in letters} == {Reason.CHUNK_UNREADABLE}
    assert told.counts.dead_letters == 1
    assert "to the dead letters" in caplog.text


def test_a_chunk_that_the_fold_fails_on_is_kept_and_its_books_balance(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(PartitionState):
        def lifecycle(self, key: str) -> bytes | None:
            del key
            raise ArithmeticError("the fold met something new")

    state = Broken(horizon_hours=24)
    state.apply(decode(found(-1, None, BEGINNING, [])))
    chunk = make_chunk([make_event(), make_event(message_id="two@example.com")], answered=b'{"instance":"x"}\n')

    told = answer(inbox(chunk), state, [], "1.0")

    letters = rows(told.value, Outbox.DEAD_LETTERS)
    assert raw_of(letters) == decode(chunk).section("events")
    assert letters[0]["reason"] == Reason.CHUNK_POISON
    assert letters[0]["detail"] == "ArithmeticError: the fold met something new"
    assert [(row["unique"], row["dead_lettered"]) for row in rows(told.value, Outbox.RECEIPTS)] == [(0, 2)]
    assert rows(told.value, Outbox.ANSWERED) == [{"instance": "x"}]
    assert not rows(told.value, Outbox.EVENTS)
    assert caplog.text.count("Traceback") == 1


def full(line: bytes) -> PartitionState:
    """Know of every mail the same, which is a lot."""

    class Full(PartitionState):
        def lifecycle(self, key: str) -> bytes | None:
            if (known := super().lifecycle(key)) is not None:
                return known
            name = key.split("\x1f")[1].encode()
            return line.replace(b'"message_id":"the same"', b'"message_id":"%s"' % name)

    state = Full(horizon_hours=24)
    state.apply(decode(FOUNDING))
    return state


FOUNDING = found(-1, None, BEGINNING, [])


def lifecycle_of(events: list[Event]) -> bytes:
    state = founded()
    state.apply(answer(inbox(make_chunk(events)), state, [], "1.0").record)
    line = state.lifecycle("cmc\x1fthe same\x1fuser@example.jp")
    assert line is not None
    return line


LONG = lifecycle_of([make_event(message_id="the same", api_data="x" * 150_000)])


def many(start: int = 0) -> list[Event]:
    return [make_event(message_id=f"mail {number}", type="delivered") for number in range(start, start + 200)]


def delivered(state: PartitionState) -> list[bool]:
    lines = [state.lifecycle(f"cmc\x1fmail {number}\x1fuser@example.jp") for number in range(200)]
    return [b'"state":"delivered"' in (line or b"") for line in lines]


def test_lifecycles_that_do_not_fit_into_the_answer_go_ahead_of_it() -> None:
    writer, reader = full(LONG), full(LONG)
    told = answer(inbox(make_chunk(many())), writer, [], "1.0")
    writer.apply(told.record, told.keys)

    assert max(map(len, [*told.ahead, told.value])) <= VALUE_LIMIT
    assert len(told.ahead) == 2
    assert {value[:9] for value in [*told.ahead, told.value]} == {b'{"form":2'}, "an older version must refuse them"
    assert all(reader.apply(decode(value)) for value in [*told.ahead, told.value])
    assert delivered(reader) == delivered(writer) == [True] * 200
    assert [(row["unique"], row["dead_lettered"]) for row in rows(told.value, Outbox.RECEIPTS)] == [(200, 0)]
    again = [answer(inbox(make_chunk(many()), 1), state, [], "1.0") for state in (writer, reader)]
    assert [one.counts.duplicates for one in again] == [200, 200]
    assert again[0].value == again[1].value


def test_what_went_ahead_of_an_answer_that_never_came_is_not_known() -> None:
    """Its worker died in between, and the next one answers the same from the same."""
    told = answer(inbox(make_chunk(many())), full(LONG), [], "1.0")
    reader = full(LONG)
    before = reader.time
    for value in told.ahead:
        assert reader.apply(decode(value))
    assert (reader.chain.stamp, reader.time, any(delivered(reader))) == (-1, before, False)
    again = answer(inbox(make_chunk(many())), reader, [], "1.0")

    assert (again.value, again.ahead) == (told.value, told.ahead)
    for value in [*again.ahead[:1], *told.ahead, again.value]:
        assert reader.apply(decode(value))
    assert not reader.apply(decode(told.value))
    assert (reader.chain.stamp, all(delivered(reader))) == (0, True)


def test_another_answer_that_comes_first_drops_what_went_ahead() -> None:
    reader = full(LONG)
    told = answer(inbox(make_chunk(many())), reader, [], "1.0")
    other = answer(inbox(make_chunk(many()[:1])), reader, [], "another version")
    for value in [*told.ahead, other.value]:
        assert reader.apply(decode(value))

    assert not reader.apply(decode(told.value))
    assert delivered(reader) == [True] + [False] * 199


def test_an_answer_does_not_count_without_all_that_went_ahead_of_it() -> None:
    reader = full(LONG)
    told = answer(inbox(make_chunk(many())), reader, [], "1.0")
    for value in told.ahead[1:]:
        assert reader.apply(decode(value))

    assert not reader.apply(decode(told.value))
    assert reader.chain.stamp == -1


def test_an_answer_that_a_log_begins_with_counts_with_what_is_left() -> None:
    told = answer(inbox(make_chunk(many())), full(LONG), [], "1.0")
    reader = PartitionState(horizon_hours=24)

    for value in [*told.ahead[1:], told.value]:
        assert reader.apply(decode(value))
        reader.chain.linked = False

    assert reader.chain.stamp == 0
    assert 0 < reader.open_lifecycles < 200


def test_an_answer_near_the_beginning_of_a_log_does_not_count_without_what_came_last_ahead_of_it() -> None:
    told = answer(inbox(make_chunk(many())), full(LONG), [], "1.0")
    reader = PartitionState(horizon_hours=24)

    assert reader.apply(decode(told.ahead[0]))
    reader.chain.linked = False
    assert not reader.apply(decode(told.value))
    for value in [*told.ahead, told.value]:
        assert reader.apply(decode(value))
    assert reader.open_lifecycles == 200


def test_a_log_goes_on_behind_such_an_answer_near_its_beginning_without_what_it_says() -> None:
    writer, reader = full(LONG), PartitionState(horizon_hours=24)
    told = answer(inbox(make_chunk(many())), writer, [], "1.0")
    writer.apply(told.record, told.keys)
    following = answer(inbox(make_chunk([make_event(message_id="another")]), 1), writer, [], "1.0")

    assert reader.apply(decode(told.ahead[0]))
    reader.chain.linked = False
    assert not reader.apply(decode(told.value))
    assert reader.apply(decode(following.value))
    assert (reader.chain.stamp, reader.open_lifecycles) == (1, 1)


def test_a_log_that_begins_with_what_goes_ahead_knows_the_time_up_to_which_it_has_come() -> None:
    """Else what answers nothing would be written without one, and nobody could read that."""
    told = answer(inbox(make_chunk(many())), full(LONG), [], "1.0")
    reader = PartitionState(horizon_hours=24)

    assert reader.apply(decode(told.ahead[0]))
    assert reader.time == BEGINNING
    assert PartitionState(horizon_hours=24).apply(decode(repeat(reader)))
    assert reader.open_lifecycles == 0


def test_an_answer_that_kafka_would_not_take_is_not_given() -> None:
    """One mail alone is more than a record may be."""
    chunk = make_chunk([make_event(message_id="the same", type="delivered"), make_event(message_id="mail 1")])
    state = full(LONG.replace(b"xxx", b"xxx" + b"x" * VALUE_LIMIT, 1))
    told = answer(inbox(chunk), state, [], "1.0")

    assert len(told.value) < VALUE_LIMIT
    assert not told.ahead
    (letter,) = rows(told.value, Outbox.DEAD_LETTERS)
    assert letter["reason"] == Reason.CHUNK_POISON
    assert f"Kafka takes {VALUE_LIMIT}" in letter["detail"]
    assert told.counts.diverted == 0  # many of these must not stop the worker
    assert [(row["unique"], row["dead_lettered"]) for row in rows(told.value, Outbox.RECEIPTS)] == [(0, 2)]


def test_nothing_is_answered_before_the_log_is_founded() -> None:
    with pytest.raises(ValueError, match="founded"):
        answer(inbox(make_chunk()), PartitionState(horizon_hours=24), [], "1.0")


def test_a_founding_opens_an_epoch_of_its_own() -> None:
    epochs = {Link.of(decode(found(-1, None, BEGINNING, [])).header).epoch for _ in range(100)}
    assert len(epochs) == 100


def test_a_repetition_counts_and_changes_nothing() -> None:
    state = founded()
    state.apply(answer(inbox(make_chunk([make_event()])), state, [], "1.0").record)
    chain = Chain(state.chain.epoch, state.chain.stamp, linked=True)

    again = decode(repeat(state))

    assert chain.follow(Link.of(again.header))
    assert (chain.stamp, chain.linked) == (0, True)
    assert state.apply(again)
    assert (state.chain.stamp, state.open_lifecycles) == (0, 1)
    assert not again.sections
    with pytest.raises(ValueError, match="empty log"):
        repeat(PartitionState(horizon_hours=24))
