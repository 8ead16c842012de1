"""The fold: what comes out depends on the set of events alone."""

from dataclasses import dataclass, field
from typing import Any, cast

import orjson
from hypothesis import given
from hypothesis import strategies as st

from streams.answer import answer, found
from streams.contracts.codec import decode
from streams.contracts.dead_letter import Reason
from streams.contracts.events import Event
from streams.contracts.sections import Outbox, ReceiptPart, public_lifecycle
from streams.inbox import InboxRecord
from streams.state import BEGINNING, PartitionState
from tests.chunks import RECEIVED, make_chunk, make_event, rows
from tests.unit.streams.histories import by_mail, events, lifecycle_of, suppressions_of


@dataclass
class Folded:
    """What a worker makes of chunks, one after the other."""

    state: PartitionState = field(default_factory=lambda: PartitionState(horizon_hours=24))
    values: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.take(found(-1, None, BEGINNING, []))

    def take(self, value: bytes) -> None:
        assert self.state.apply(decode(value))
        self.values.append(value)

    def put(self, *chunks: bytes) -> "Folded":
        for chunk in chunks:
            record = InboxRecord(topic="inbox", shard=3, offset=len(self.values) - 1, at=RECEIVED, value=chunk)
            told = answer(record, self.state, [], "1.0")
            assert decode(told.value).sections == {name: lines for name, lines in told.record.sections.items() if lines}
            self.take(told.value)
        return self

    def rows(self, section: str) -> list[dict[str, object]]:
        return [row for value in self.values for row in rows(value, section)]

    def lines(self, section: str) -> dict[Any, bytes]:
        """Give the last line about each mail or address."""
        latest = {}
        for value in self.values:
            for line in decode(value).section(section).split(b"\n")[:-1]:
                row = orjson.loads(line)
                latest[tuple(row[name] for name in ("source", "message_id", "recipient") if name in row)] = line
        return latest


HISTORIES = st.lists(events(), max_size=25)


@st.composite
def arrivals(draw: st.DrawFn, history: list[Event]) -> list[bytes]:
    """Let a history arrive: in any order, with resends, cut into any chunks."""
    resent = draw(st.lists(st.sampled_from(history), max_size=10)) if history else []
    order = draw(st.permutations([*history, *resent]))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=5)))
    return [make_chunk(order[start:end]) for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]


@given(HISTORIES, st.data())
def test_order_repetition_and_batches_do_not_matter(history: list[Event], data: st.DataObject) -> None:
    one = Folded().put(make_chunk(history))
    other = Folded().put(*data.draw(arrivals(history)))

    assert one.lines(Outbox.LIFECYCLES) == other.lines(Outbox.LIFECYCLES)
    assert one.lines(Outbox.SUPPRESSIONS) == other.lines(Outbox.SUPPRESSIONS)
    unique = {event["id"]: event for event in history}
    for folded in (one, other):
        told = folded.rows(Outbox.EVENTS)
        assert {row["id"]: row for row in told} == unique
        assert len(told) == len(unique)


@given(HISTORIES, st.data())
def test_lifecycles_are_what_they_are_said_to_be(history: list[Event], data: st.DataObject) -> None:
    lines = Folded().put(*data.draw(arrivals(history))).lines(Outbox.LIFECYCLES)

    told = {name: orjson.loads(public_lifecycle(line)) for name, line in lines.items()}
    expected = {name: lifecycle_of(mail) for name, mail in by_mail(history).items()}
    assert told == expected
    for name, lifecycle in told.items():
        assert list(lifecycle) == list(expected[name]), "the order of the fields is public, too"


@given(HISTORIES, st.data())
def test_suppressions_are_the_latest_that_was_said(history: list[Event], data: st.DataObject) -> None:
    lines = Folded().put(*data.draw(arrivals(history))).lines(Outbox.SUPPRESSIONS)

    told = {name: orjson.loads(line) for name, line in lines.items()}
    assert {name: (row["blocked"], row["event"]) for name, row in told.items()} == suppressions_of(history)
    for row in told.values():
        assert row["until"] == (None if row["blocked"] else row["since"])


@given(HISTORIES, st.data())
def test_the_books_balance(history: list[Event], data: st.DataObject) -> None:
    chunks = data.draw(arrivals(history))
    folded = Folded().put(*chunks)

    for chunk, value in zip(chunks, folded.values[1:], strict=True):
        parts = {row["receipt"]: row for row in rows(chunk, "receipts")}
        counts = {row["receipt"]: row for row in rows(value, Outbox.RECEIPTS)}
        assert parts.keys() == counts.keys()
        for name, count in counts.items():
            assert count["unique"] + count["duplicate"] + count["dead_lettered"] == parts[name]["events"]
            assert count["accepted"] == parts[name]["accepted"]
        header = decode(value).header["counts"]
        assert header["unique"] == sum(count["unique"] for count in counts.values()) == len(rows(value, Outbox.EVENTS))


@given(HISTORIES, st.data())
def test_a_worker_that_loads_knows_what_the_one_knew_that_wrote(history: list[Event], data: st.DataObject) -> None:
    chunks = data.draw(arrivals(history))
    begun = Folded().put(*chunks)
    loaded = Folded(values=list(begun.values))
    loaded.state = PartitionState(horizon_hours=24)
    loaded.values.pop()  # __post_init__ founded it again
    for value in loaded.values:
        loaded.state.apply(decode(value))

    again = [make_chunk(history), make_chunk([make_event()])]
    assert begun.put(*again).values == loaded.put(*again).values


def test_an_event_is_handed_on_as_it_came() -> None:
    odd = b'{ "id" : "%s", "later field": [1, 2], %s' % (
        b"0" * 32,
        orjson.dumps(make_event())[len(b'{"id":,""') + 32 :],
    )
    folded = Folded().put(make_chunk([], raw_lines=[odd]))

    assert decode(folded.values[1]).section(Outbox.EVENTS) == odd + b"\n"


def test_a_chunk_without_duplicates_passes_whole() -> None:
    chunk = make_chunk([make_event(message_id="a"), make_event(message_id="b")])
    assert decode(Folded().put(chunk).values[1]).section(Outbox.EVENTS) == decode(chunk).section("events")


def test_a_failure_and_its_bounce_are_one_failure_with_both_halves() -> None:
    failed = make_event(type="failed", reason="550 no such user", occurred_at="2026-03-02T00:00:01.000Z")
    bounced = make_event(
        type="bounced",
        reason="user unknown",
        bounce_code="2",
        bounce_class="hard",
        bounce_reason="unknown_user",
        occurred_at="2026-03-02T00:00:02.000Z",
    )
    ((_, line),) = Folded().put(make_chunk([bounced]), make_chunk([failed])).lines(Outbox.LIFECYCLES).items()

    lifecycle = orjson.loads(line)
    assert (lifecycle["state"], lifecycle["events"]) == ("bounced", 2)
    assert (lifecycle["failed_reason"], lifecycle["bounced_reason"]) == ("550 no such user", "user unknown")
    assert lifecycle["failed_at"] == failed["occurred_at"]


def test_what_stands_in_the_text_of_an_event_ends_nothing() -> None:
    """The marks by which lines are cut apart unread cannot come from outside."""
    trap = 'x","state":"y,"~":[],"~":'
    event = make_event(source="cmc", message_id=trap, recipient=trap, subject=trap, sender=trap)
    folded = Folded().put(make_chunk([event]), make_chunk([event]))

    ((name, line),) = folded.lines(Outbox.LIFECYCLES).items()
    assert name == ("cmc", trap, trap)
    assert orjson.loads(public_lifecycle(line))["subject"] == trap
    assert len(folded.rows(Outbox.EVENTS)) == 1


def test_lines_that_are_no_events_go_to_the_dead_letters_alone() -> None:
    good = [make_event(message_id=f"{number}@example.com") for number in range(3)]
    bad = [b"{", b'{"id":"short"}', orjson.dumps({**make_event(), "occurred_at": None}), b"\xff\xfe", b"[]"]
    receipts = [
        ReceiptPart(
            receipt=good[0]["receipt"], source="cmc", received_at=RECEIVED, accepted=9, events=8, dead_letters=1
        )
    ]
    letter = b'{"from":"ingest"}\n'
    folded = Folded().put(make_chunk(good, raw_lines=bad, receipts=receipts, dead_letters=letter))

    assert len(folded.rows(Outbox.EVENTS)) == 3
    first, *letters = folded.rows(Outbox.DEAD_LETTERS)
    assert first == {"from": "ingest"}
    assert [(row["number"], row["reason"]) for row in letters] == [
        (number, Reason.CHUNK_UNREADABLE) for number in range(5)
    ]
    assert {(row["topic"], row["partition"], row["offset"]) for row in letters} == {("inbox", 3, 0)}
    (count,) = folded.rows(Outbox.RECEIPTS)
    assert (count["unique"], count["duplicate"], count["dead_lettered"]) == (3, 0, 6)
    assert decode(folded.values[1]).header["counts"]["dead_letters"] == 6


def test_two_parts_of_a_post_in_one_chunk_count_once_each() -> None:
    events = [make_event(message_id=f"{number}@example.com") for number in range(3)]
    post = {"receipt": events[0]["receipt"], "source": "cmc", "received_at": RECEIVED, "accepted": 5}
    receipts = [
        cast("ReceiptPart", {**post, "events": 3, "dead_letters": 0, "part": 0}),
        cast("ReceiptPart", {**post, "events": 0, "dead_letters": 2, "part": 1}),
    ]
    folded = Folded().put(make_chunk([*events], receipts=receipts))

    (count,) = folded.rows(Outbox.RECEIPTS)
    assert (count["unique"], count["duplicate"], count["dead_lettered"]) == (3, 0, 2)
    assert count["places"] == [[0, 3, 0, 3, 0], [1, 3, 0, 2, 2]]


def test_a_line_that_is_nested_beyond_measure_goes_to_the_dead_letters_alone() -> None:
    folded = Folded().put(make_chunk([make_event()], raw_lines=[b'{"later":' + b"[" * 100_000]))
    assert len(folded.rows(Outbox.EVENTS)) == 1
    assert len(folded.rows(Outbox.DEAD_LETTERS)) == 1


def test_lines_that_only_together_are_json_are_two_broken_lines() -> None:
    folded = Folded().put(make_chunk([], raw_lines=[b'{"a":1', b'"b":2}']))
    assert len(folded.rows(Outbox.DEAD_LETTERS)) == 2


def test_answered_lines_pass() -> None:
    line = b'{"instance":"0123456789abcdef0123","through":5,"abandoned":[]}\n'
    assert decode(Folded().put(make_chunk(answered=line)).values[1]).section(Outbox.ANSWERED) == line


def test_an_empty_chunk_has_an_answer() -> None:
    header = decode(Folded().put(make_chunk()).values[1]).header
    assert header["stamp"] == 0
    assert set(header["counts"].values()) == {0}
