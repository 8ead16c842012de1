"""What was published says how far: never further than it was, and as far as something of it can be found."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks import publication
from sinks.block import Block
from sinks.breaker import Limits, Tally
from sinks.position import Bounds, Position
from sinks.publication import Publication
from sinks.recognition import Recognition, event_identity, letter_identity
from sinks.sifting import Channel, sift
from streams.contracts.codec import Record
from streams.contracts.sections import Outbox

INBOX = "inbox"


def line(number: int, **fields: str) -> bytes:
    known = {"id": f"{number:032x}", "message_id": f"m{number}", "recipient": "a@example.jp", **fields}
    return json.dumps(known, separators=(",", ":")).encode() + b"\n"


def letter(number: int, *, receipt: str = "0a", raw: bytes = b"\xff", version: str = "1") -> bytes:
    known = {
        "receipt": receipt,
        "number": number,
        "part": 0,
        "parts": 1,
        "source": "cmc",
        "reason": "body_unreadable",
        "detail": "",
        "topic": "",
        "partition": -1,
        "offset": -1,
        "version": version,
        "raw_base64": base64.b64encode(raw).decode(),
    }
    return json.dumps(known).encode() + b"\n"


def record(stamp: int, *, events: bytes = b"", letters: bytes = b"", **sections: bytes) -> Record:
    found = {Outbox.EVENTS.value: events, Outbox.DEAD_LETTERS.value: letters, **sections}
    return Record({"stamp": stamp}, found)


def published(log: list[Record], partition: int = 0) -> tuple[list[Publication], list[Publication]]:
    """Publish records, each in a block of its own, as the sink does: events and dead letters."""
    channels = (
        Channel("events", Outbox.EVENTS, publication.events),
        Channel("letters", Outbox.DEAD_LETTERS, publication.dead_letters),
    )
    events: list[Publication] = []
    letters: list[Publication] = []
    for one in log:
        bounds, position = Bounds(0, 0), Position(offset=0)
        block = Block(
            partition=partition,
            bounds=bounds,
            epoch="",
            records=(one,),
            before=position,
            after=position,
            events=1,
            size=1,
        )
        found = sift(
            block,
            channels,
            Tally(),
            Limits(run=1000, ratio=1),
            put_aside=lambda: None,
            dead_letters="letters",
            inbox=INBOX,
            version="older",
        )
        events += found["events"]
        letters += found["letters"]
    return events, letters


def recognised(log: list[Record], events: list[Publication], letters: list[Publication]) -> int:
    """Tell the offset of the position, 0 where there is none."""
    recognition = Recognition(
        0,
        INBOX,
        [event_identity(value or b"") for _, value, _ in events],
        [letter_identity(value or b"", headers) for _, value, headers in letters],
    )
    for offset, one in enumerate(log):
        recognition.take(one, Position(offset=offset + 1))
    return recognition.position.offset if recognition.position else 0


LOG = [
    record(0, events=line(1) + line(2)),
    record(1),
    record(2, events=line(3), letters=letter(0)),
    record(3, letters=letter(1)),
    record(4, letters=letter(2) + letter(3)),
    record(5, events=b'{"no":"event"}\n' + line(4)),
    record(6, events=b'{"no":"event"}\n'),
    record(7, letters=b'{"no":"letter"}\n'),
    record(8, events=line(5)),
]


@pytest.mark.parametrize("until", range(len(LOG) + 1))
def test_the_position_stands_behind_what_was_published(until: int) -> None:
    # Behind record 1 nothing can be found, since it publishes nothing.
    assert recognised(LOG, *published(LOG[:until])) == (1 if until == 2 else until)


def test_the_last_record_is_enough() -> None:
    for until in range(1, len(LOG) + 1):
        events, letters = published(LOG[:until])
        assert recognised(LOG, events[-1:], letters[-1:]) == (1 if until == 2 else until)


def test_what_is_not_in_the_outbox_is_not_recognised() -> None:
    foreign = [record(stamp, events=line(100 + stamp), letters=letter(100 + stamp)) for stamp in range(9)]

    assert recognised(LOG, *published(foreign)) == 0


def test_what_was_sifted_out_of_another_partition_is_not_recognised() -> None:
    assert recognised(LOG, [], published(LOG[6:8], partition=1)[1]) == 0
    assert recognised(LOG, [], published(LOG[6:8])[1]) == 8


def test_the_same_event_in_another_post_is_another_one() -> None:
    log = [record(0, events=line(1, receipt="0a")), record(1, events=line(2)), record(2, events=line(1, receipt="0b"))]

    assert recognised(log, *published(log[:1])) == 1


def test_a_letter_that_stands_there_twice_counts_as_often_as_it_was_published() -> None:
    log = [record(0, letters=letter(0)), record(1, events=line(1)), record(2, letters=letter(0))]

    assert recognised(log, *published(log[:1])) == 1
    assert recognised(log, *published(log)) == 3


records = st.builds(
    lambda events, letters: (events, letters),
    st.lists(st.integers(0, 50), max_size=3),
    st.lists(st.integers(0, 3), max_size=2),
)


@given(st.lists(records, max_size=12), st.integers(0, 12))
def test_nothing_is_left_out_whatever_was_published(numbers: list[tuple[list[int], list[int]]], until: int) -> None:
    """Letters may repeat, events do not: the position is exact but for letters of which there is a copy."""
    log, seen = [], set[int]()
    for stamp, (events, letters) in enumerate(numbers):
        new = sorted(set(events) - seen)
        seen |= set(new)
        log.append(record(stamp, events=b"".join(map(line, new)), letters=b"".join(map(letter, letters))))
    exact = max(
        (
            at + 1
            for at, one in enumerate(log[:until])
            if one.section(Outbox.EVENTS) or one.section(Outbox.DEAD_LETTERS)
        ),
        default=0,
    )
    assert recognised(log, *published(log[:until])) == exact
