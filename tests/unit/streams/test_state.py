"""What a worker knows, and when it forgets."""

from hypothesis import given
from hypothesis import strategies as st

from streams.answer import answer, found
from streams.contracts.codec import decode
from streams.contracts.sections import Outbox
from streams.inbox import InboxRecord
from streams.recent import Recent
from streams.state import BEGINNING, PartitionState, hours
from tests.chunks import make_chunk, make_event, rows


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 12)) | st.integers(0, 12), max_size=40),
)
def test_a_value_is_kept_for_its_hours_and_no_full_one_longer(horizon: int, steps: list[tuple[str, int] | int]) -> None:
    recent: Recent[int] = Recent(horizon)
    put_at: dict[str, tuple[int, int]] = {}
    now = 0
    recent.advance(0)
    for step in steps:
        if isinstance(step, int):
            recent.advance(step)
            now = max(now, step)
        else:
            key, value = step
            recent.put(key, value)
            put_at[key] = (now, value)
        kept = {key: value for key, (hour, value) in put_at.items() if now - hour <= horizon}
        assert {key: recent.get(key) for key in "abcd" if key in recent} == kept
        assert len(recent) == len(kept)
        put_at = {key: put_at[key] for key in kept}


def test_hours_are_counted_in_utc() -> None:
    assert hours("1970-01-01T00:59:59.999Z") == 0
    assert hours("1970-01-02T01:00:00.000Z") == 25


def fold(times: list[tuple[str, bytes]], state: PartitionState) -> list[bytes]:
    values = [found(-1, None, BEGINNING, [])]
    state.apply(decode(values[0]))
    for offset, (at, chunk) in enumerate(times):
        told = answer(InboxRecord(topic="inbox", shard=0, offset=offset, at=at, value=chunk), state, [], "1.0")
        state.apply(told.record)
        values.append(told.value)
    return values


def test_a_resend_is_recognised_within_the_horizon_by_the_time_of_the_stream() -> None:
    mail, blocked = make_event(), make_event(type="blocked", message_id="")
    chunk = make_chunk([mail, blocked])
    state = PartitionState(horizon_hours=48)
    values = fold(
        [
            ("2026-03-02T00:50:00.000Z", chunk),
            ("2026-03-04T00:10:00.000Z", chunk),
            ("2026-03-04T00:50:00.000Z", chunk),
            ("2026-03-04T01:00:00.000Z", make_chunk()),
            ("2026-03-04T01:00:00.000Z", chunk),
        ],
        state,
    )
    unique = [len(rows(value, Outbox.EVENTS)) for value in values[1:]]
    assert unique == [2, 0, 0, 0, 2], "it is forgotten with an hour, once the horizon is over"


def test_a_record_that_does_not_count_changes_nothing() -> None:
    state = PartitionState(horizon_hours=48)
    values = fold([("2026-03-02T00:10:00.000Z", make_chunk([make_event()]))], state)
    other = PartitionState(horizon_hours=48)
    stray = fold([("2026-03-09T00:10:00.000Z", make_chunk([make_event(message_id="two")]))], other)

    assert not state.apply(decode(stray[1]))
    assert not state.apply(decode(values[1]))
    assert state.time == "2026-03-02T00:10:00.000Z"
    assert state.open_lifecycles == 1
