"""What is restored from events is what was known."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from streams.answer import answer, found
from streams.contracts.chain import Chain, Link
from streams.contracts.codec import decode
from streams.contracts.events import Event
from streams.contracts.sections import Outbox
from streams.inbox import InboxRecord
from streams.restoration import finished, is_restoring, restored
from streams.state import BEGINNING, PartitionState
from tests.chunks import make_chunk, make_event, rows

AT = "2026-03-02T00:10:00.000Z"


def founded(*, restoring: bool = False) -> PartitionState:
    state = PartitionState(horizon_hours=24)
    state.apply(decode(found(-1, None, BEGINNING, [], restoring=restoring)))
    return state


def told(state: PartitionState, events: list[Event]) -> list[dict[str, object]]:
    """Have the events answered; give the row of the receipt."""
    record = InboxRecord(topic="inbox", shard=0, offset=state.chain.next_offset(), at=AT, value=make_chunk(events))
    result = answer(record, state, [], "1.0")
    state.apply(result.record)
    return rows(result.value, Outbox.RECEIPTS)


def restore(state: PartitionState, events: list[Event]) -> list[bytes]:
    values = []
    lines = b"".join(orjson.dumps(event) + b"\n" for event in events)
    for record, value in restored(lines, state, AT, "1.0"):
        assert state.apply(record)
        assert decode(value).sections == record.sections
        values.append(value)
    return values


EVENTS = st.lists(
    st.builds(
        lambda mail, kind, second, reason: make_event(
            message_id="" if mail == 0 else f"{mail}@example.com",
            type=kind,
            reason=reason,
            occurred_at=f"2026-03-02T00:00:0{second}.000Z",
        ),
        st.integers(0, 3),
        st.sampled_from(["queued", "deferred", "delivered", "failed", "bounced", "blocked", "unblocked", "unknown"]),
        st.integers(0, 9),
        st.sampled_from(["", "full", "unknown"]),
    ),
    max_size=20,
)


@given(EVENTS, st.randoms())
def test_a_worker_that_was_restored_answers_as_the_one_that_knew(events: list[Event], chance: object) -> None:
    knew, state = founded(), founded(restoring=True)
    told(knew, events)
    shuffled = list({event["id"]: event for event in events}.values())
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis draws a random.Random
    half = len(shuffled) // 2
    for part in (shuffled[:half], shuffled[half:]):
        restore(state, part)

    later = [*events, make_event(message_id="1@example.com", type="delivered", occurred_at="2026-03-02T00:00:05.500Z")]
    assert told(state, later) == told(knew, later)
    for mail in range(1, 4):
        key = f"cmc\x1f{mail}@example.com\x1fuser@example.jp"
        assert state.lifecycle(key) == knew.lifecycle(key)


def test_what_is_restored_answers_nothing_and_tells_no_event_again() -> None:
    state = founded(restoring=True)
    [value] = restore(state, [make_event(), make_event(type="blocked", message_id="", reason="hard bounce")])
    record = decode(value)
    assert is_restoring(record)
    assert set(record.sections) == {Outbox.LIFECYCLES, Outbox.SEEN, Outbox.SUPPRESSIONS}
    assert set(record.header["counts"].values()) == {0}
    assert state.chain.next_offset() == 0
    end = decode(finished(state.chain, AT))
    assert not is_restoring(end)
    assert not end.sections


def test_doing_it_again_writes_nothing_that_is_there() -> None:
    state = founded(restoring=True)
    events = [make_event(message_id=f"{number}@example.com") for number in range(10)]
    assert len(restore(state, events[:5])) == 1
    [value] = restore(state, events)
    assert len(rows(value, Outbox.LIFECYCLES)) == 5
    assert restore(state, events) == []


def test_a_restoring_record_that_comes_behind_an_answer_does_not_count() -> None:
    late = founded(restoring=True)
    [value] = restore(late, [make_event()])
    chain = Chain(epoch=late.chain.epoch, stamp=-1, linked=True)
    assert chain.follow(Link(epoch=str(chain.epoch), stamp=0, previous=-1))
    assert not chain.follow(Link.of(decode(value).header))


def test_a_block_whose_lifecycles_are_too_many_for_a_record_is_divided() -> None:
    state = founded(restoring=True)
    large = "x" * 6_000_000
    events = [make_event(message_id=f"{number}@example.com", api_data=large) for number in range(3)]
    values = restore(state, events)
    assert len(values) == 3
    assert state.open_lifecycles == 3


def test_an_event_that_cannot_be_read_does_not_keep_the_others() -> None:
    state = founded(restoring=True)
    lines = b'{"id":"short"}\n' + orjson.dumps(make_event()) + b"\n"
    [(record, _)] = restored(lines, state, AT, "1.0")
    state.apply(record)
    assert state.open_lifecycles == 1
