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
    assert header["time"] == RECEIVED
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


def test_an_answer_that_kafka_would_not_take_is_not_given() -> None:
    """A lifecycle with very many events is told whole each time one more comes."""
    state = founded()
    many = [make_event(message_id="the same", type="deferred", reason=str(number)) for number in range(2400)]
    state.apply(answer(inbox(make_chunk(many)), state, [], "1.0").record)

    class Full(PartitionState):
        def lifecycle(self, key: str) -> bytes | None:
            line = state.lifecycle("cmc\x1fthe same\x1fuser@example.jp")
            assert line is not None
            name = key.split("\x1f")[1].encode()
            return line.replace(b'"message_id":"the same"', b'"message_id":"%s"' % name)

    full = Full(horizon_hours=24)
    full.apply(decode(found(-1, None, BEGINNING, [])))
    events = [make_event(message_id=f"mail {number}") for number in range(200)]
    told = answer(inbox(make_chunk(events)), full, [], "1.0")

    assert len(told.value) < VALUE_LIMIT
    (letter,) = rows(told.value, Outbox.DEAD_LETTERS)
    assert letter["reason"] == Reason.CHUNK_POISON
    assert f"Kafka takes {VALUE_LIMIT}" in letter["detail"]
    assert told.counts.diverted == 0  # many of these must not stop the worker
    assert [(row["unique"], row["dead_lettered"]) for row in rows(told.value, Outbox.RECEIPTS)] == [(0, 200)]


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
