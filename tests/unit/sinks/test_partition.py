"""The reader of one partition: every record that counts is in exactly one block, whatever else is in the log."""

import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.block import Block
from sinks.partition import STRAYS_TO_TELL, Limits, PartitionReader, is_founding
from sinks.position import Bounds, Position
from streams.contracts.chain import Link
from streams.contracts.codec import encode
from streams.contracts.errors import LaterFormError
from streams.contracts.sections import Outbox

WIDE = Limits(bytes=1 << 30, events=1 << 30)
ONE_EACH = Limits(bytes=1, events=1)


def record(link: Link, events: int = 1) -> bytes:
    lines = b"".join(b'{"stamp":%d,"number":%d}\n' % (link.stamp, number) for number in range(events))
    return encode(link.header(), {Outbox.EVENTS.value: lines})


def founding(epoch: str = "one", stamp: int = -1, previous: int | None = None) -> Link:
    return Link(epoch=epoch, stamp=stamp, previous=previous, founding=True)


def following(link: Link) -> Link:
    return Link(epoch=link.epoch, stamp=link.stamp + 1, previous=link.stamp)


def chain(length: int, first: Link | None = None) -> list[Link]:
    links = [first or founding()]
    for _ in range(length - 1):
        links.append(following(links[-1]))
    return links


def reader(position: Position | None = None, limits: Limits = WIDE) -> PartitionReader:
    return PartitionReader(2, position or Position(offset=0), limits)


def feed(target: PartitionReader, links: Sequence[Link], *, at: int = 0) -> PartitionReader:
    for offset, link in enumerate(links, at):
        target.feed(offset, record(link))
    return target


def blocks_of(target: PartitionReader) -> list[Block]:
    blocks = []
    while (block := target.cut()) is not None:
        blocks.append(block)
    return blocks


def stamps(blocks: Sequence[Block]) -> list[int]:
    return [one.header["stamp"] for block in blocks for one in block.records]


def test_epochs_that_the_destination_has_go_on_behind_what_it_has() -> None:
    one = chain(4)
    two = chain(4, founding("two", stamp=2, previous=2))
    stored = Position(offset=0, epoch="two", stamp=4, linked=True, known={"one": 2, "two": 4})

    assert stamps(blocks_of(feed(reader(stored), [*one, *two]))) == [5]
    # The first epoch alone went on elsewhere: the log came back from a copy of before the second one.
    assert stamps(blocks_of(feed(reader(stored), [*one, following(one[-1])]))) == [3]
    # Of an epoch that is not known everything is new.
    assert stamps(blocks_of(feed(reader(stored), chain(2, founding("three"))))) == [-1, 0]


def test_a_block_holds_everything_that_waits() -> None:
    target = feed(reader(), chain(4))

    block = target.cut()

    assert block is not None
    assert (block.partition, block.bounds, block.epoch, block.events) == (2, Bounds(0, 3), "one", 4)
    assert block.before == Position(offset=0, intent=Bounds(0, 3))
    assert block.after == Position(offset=4, epoch="one", stamp=2, linked=True)
    assert block.section(Outbox.EVENTS).count(b"\n") == 4
    assert target.cut() is None
    assert target.waiting_bytes == target.waiting_events == 0


def test_a_block_keeps_to_its_limits() -> None:
    target = feed(reader(limits=Limits(bytes=1 << 30, events=2)), chain(5))

    assert [block.bounds for block in blocks_of(target)] == [Bounds(0, 1), Bounds(2, 3), Bounds(4, 4)]


def test_a_record_that_is_larger_than_a_block_may_be_goes_by_itself() -> None:
    target = reader(limits=Limits(bytes=10, events=2))
    target.feed(0, record(founding(), events=7))
    target.feed(1, record(following(founding())))

    assert [block.events for block in blocks_of(target)] == [7, 1]


@pytest.mark.parametrize(
    ("counts", "told"),
    [({"unique": 2}, 2), ({"unique": 0}, 3), ({"unique": -1}, 3), ({"unique": 10**9}, 3), ({}, 3), ("many", 3)],
)
def test_how_many_events_a_record_has_is_what_its_header_says_where_that_may_be(counts: object, told: int) -> None:
    lines = b'{"number":1}\n' * 3
    target = reader()
    target.feed(0, encode({**founding().header(), "counts": counts}, {Outbox.EVENTS.value: lines}))

    block = target.cut()

    assert block is not None
    assert (block.events, block.section(Outbox.EVENTS)) == (told, lines)


def test_a_block_never_spans_two_epochs() -> None:
    old = chain(3)
    new = chain(2, founding("two", stamp=-1, previous=old[-1].stamp))
    target = feed(reader(), [*old, *new])

    assert [(block.epoch, block.bounds) for block in blocks_of(target)] == [
        ("one", Bounds(0, 2)),
        ("two", Bounds(3, 4)),
    ]


def test_what_does_not_continue_the_chain_is_passed_over() -> None:
    first, second, third = chain(3)
    stray = Link(epoch="one", stamp=5, previous=4)
    foreign = Link(epoch="two", stamp=1, previous=0)
    target = feed(reader(), [first, second, second, stray, foreign, third])

    blocks = blocks_of(target)

    assert stamps(blocks) == [-1, 0, 1]
    assert [block.bounds for block in blocks] == [Bounds(0, 5)]
    assert target.ignored == 3


def test_strays_alone_make_a_block_without_records() -> None:
    first = feed(reader(), chain(2)).cut()
    assert first is not None
    target = reader(first.after)
    target.feed(2, record(Link(epoch="one", stamp=0, previous=-1)))

    block = target.cut()

    assert block is not None
    assert (block.records, block.events, block.after.offset) == ((), 0, 3)


@given(
    length=st.integers(2, 30),
    copies=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=8),
    limit=st.integers(1, 12),
    stop=st.integers(0, 40),
    other_limit=st.integers(1, 12),
)
def test_a_reader_that_starts_again_anywhere_repeats_the_block_that_was_begun(
    length: int, copies: list[tuple[int, int]], limit: int, stop: int, other_limit: int
) -> None:
    """Every prefix of deliveries, then a crash between intent and commit, then other limits: nothing twice or lost."""
    log = chain(length)
    for place, copied in copies:
        log.insert(place % len(log) + 1, log[copied % length])
    whole = feed(reader(limits=Limits(bytes=1 << 30, events=limit)), log)
    blocks = blocks_of(whole)
    begun = blocks[stop % len(blocks)]

    offset = begun.before.offset
    second = reader(Position.of(offset, begun.before.metadata()), Limits(bytes=1 << 30, events=other_limit))
    feed(second, log[offset:], at=offset)
    repeated = blocks_of(second)

    assert repeated[0] == begun
    assert stamps([*blocks[: stop % len(blocks)], *repeated]) == stamps(blocks) == list(range(-1, length - 1))


def test_a_block_that_was_begun_waits_until_it_is_complete() -> None:
    target = reader(Position(offset=0, intent=Bounds(0, 2)))
    links = chain(4)
    feed(target, links[:2])

    assert target.cut() is None
    feed(target, links[2:], at=2)
    assert [block.bounds for block in blocks_of(target)] == [Bounds(0, 2), Bounds(3, 3)]


def test_a_hole_is_told_once_and_read_over() -> None:
    links = chain(8)
    before = feed(reader(), links[:3]).cut()
    assert before is not None
    target = feed(reader(before.after), links[5:], at=5)

    assert list(target.holes()) == [Bounds(3, 4)]
    assert list(target.holes()) == []
    blocks = blocks_of(target)
    assert stamps(blocks) == [4, 5, 6]
    assert blocks[0].before.offset == 5


def test_behind_a_hole_the_block_is_repeated_as_it_was() -> None:
    links = chain(8)
    known = Position(offset=3, epoch="one", stamp=1, linked=True)
    block = feed(reader(known), links[5:], at=5).cut()
    assert block is not None

    again = feed(reader(Position.of(block.before.offset, block.before.metadata())), links[5:], at=5).cut()

    assert again == block


def test_behind_a_hole_what_was_delivered_before_is_still_recognised() -> None:
    links = chain(8)
    target = reader(Position(offset=3, epoch="one", stamp=4, linked=True))

    feed(target, links[4:], at=5)

    assert list(target.holes()) == []
    assert stamps(blocks_of(target)) == [5, 6]


def test_what_was_delivered_before_is_no_hole() -> None:
    """As after Kafka forgot the position, and the log its beginning: the store says how far it is."""
    links = chain(8)
    target = reader(Position(offset=0, epoch="one", stamp=4, linked=True))

    feed(target, links[3:], at=3)

    assert list(target.holes()) == []
    assert stamps(blocks_of(target)) == [5, 6]


def test_a_hole_may_hide_a_new_epoch() -> None:
    target = reader(Position(offset=3, epoch="one", stamp=700, linked=True))

    feed(target, chain(3, founding("two"))[1:], at=9)

    assert stamps(blocks_of(target)) == [0, 1]


def test_a_block_of_which_the_log_has_lost_the_beginning_keeps_its_name() -> None:
    links = chain(8)
    target = reader(Position(offset=2, epoch="one", stamp=0, linked=True, intent=Bounds(2, 5)))

    feed(target, links[4:], at=4)

    assert list(target.holes()) == [Bounds(2, 3)]
    blocks = blocks_of(target)
    assert [block.name for block in blocks] == ["2:2-5:one", "2:6-7:one"]
    assert stamps(blocks) == [3, 4, 5, 6]


def test_a_block_of_which_the_log_has_nothing_left_is_passed() -> None:
    target = reader(Position(offset=2, epoch="one", stamp=0, linked=True, intent=Bounds(2, 3)))

    feed(target, chain(8)[6:], at=6)

    blocks = blocks_of(target)
    assert [block.records == () for block in blocks] == [True, False]
    assert blocks[0].after == Position(offset=4, epoch="one", stamp=0, linked=True)


def test_a_log_that_was_made_anew_is_read_from_its_beginning(caplog: pytest.LogCaptureFixture) -> None:
    target = reader(Position(offset=900, epoch="old", stamp=800, linked=True))

    feed(target, chain(3, founding("new")))

    assert stamps(blocks_of(target)) == [-1, 0, 1]
    assert "made anew" in caplog.text


def test_a_log_that_was_cut_off_is_read_again_and_what_was_delivered_is_recognised() -> None:
    links = chain(6)
    target = reader(Position(offset=5, epoch="one", stamp=3, linked=True))

    feed(target, links)

    assert stamps(blocks_of(target)) == [4]


def test_behind_a_hole_what_founds_an_epoch_may_be_a_stray() -> None:
    links = chain(12)
    target = reader(Position(offset=3, epoch="one", stamp=1, linked=True))
    stray = founding("stray", stamp=4, previous=3)

    target.feed(6, record(stray))
    feed(target, links[7:], at=7)

    assert stamps(blocks_of(target)) == [4, 6, 7, 8, 9, 10]


def test_an_epoch_that_is_founded_in_an_empty_log_is_followed() -> None:
    """Nothing was written for longer than the log is kept, and then a worker found nothing of what was."""
    target = reader(Position(offset=9, epoch="one", stamp=7, linked=True))
    links = chain(3, founding("two", stamp=7))
    assert is_founding(record(links[0]))
    target.begin = 9

    feed(target, links, at=9)

    assert stamps(blocks_of(target)) == [7, 8, 9]


def test_an_epoch_that_is_founded_behind_another_is_not_followed() -> None:
    """Two workers have found the log empty: what the first one founded counts."""
    target = reader(Position(offset=9, epoch="one", stamp=7, linked=True))
    target.begin = 9
    first, second = chain(3, founding("two", stamp=7)), founding("three", stamp=7)

    feed(target, [first[0], second, *first[1:]], at=9)

    blocks = blocks_of(target)
    assert [block.epoch for block in blocks] == ["two"]
    assert stamps(blocks) == [7, 8, 9]


def test_another_log_that_has_grown_past_the_old_one_is_noticed_and_read_from_its_beginning() -> None:
    links = chain(300, founding("new"))
    target = reader(Position(offset=150, epoch="old", stamp=800, linked=True))
    offset = 150
    while not target.is_astray:
        target.feed(offset, record(links[offset]))
        offset += 1

    feed(target, links)

    assert stamps(blocks_of(target)) == list(range(-1, 299))


def test_many_strays_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    target = feed(reader(), chain(2))
    stray = Link(epoch="other", stamp=1, previous=0)

    with caplog.at_level(logging.ERROR):
        feed(target, [stray] * (STRAYS_TO_TELL + 5), at=2)

    assert len(caplog.records) == 1
    assert "from its beginning again" in caplog.text


FOREIGN = [
    b"",
    b"no header",
    b'{"form":1,"sections":{}}\n',
    b'{"form":1,"epoch":"one","stamp":"0","previous":-1,"sections":{}}\n',
    b'{"form":1,"epoch":"one","stamp":0,"previous":-1,"sections":{"events":7}}\n',
    b'{"form":"one","sections":{}}\n',
]


def test_a_record_of_a_later_version_is_not_skipped() -> None:
    with pytest.raises(LaterFormError, match="partition 2, offset 0"):
        reader().feed(0, b'{"form":9,"sections":{}}\n')


@pytest.mark.parametrize("value", FOREIGN)
@pytest.mark.parametrize("place", [0, 1, 3, 5])
def test_what_is_no_record_is_passed_over_and_told_once(
    caplog: pytest.LogCaptureFixture, value: bytes, place: int
) -> None:
    target = reader()
    log = [record(link) for link in chain(5)]
    log[place:place] = [value, value]
    for offset, one in enumerate(log):
        target.feed(offset, one)

    blocks = blocks_of(target)
    assert stamps(blocks) == [-1, 0, 1, 2, 3]
    assert blocks[-1].after.offset == target.expected == 7
    assert (target.unreadable, target.ignored, list(target.holes())) == (2, 0, [])
    assert [f"partition 2, offset {place}: " in entry.getMessage() for entry in caplog.records] == [True]


def test_a_block_with_foreign_records_is_repeated_exactly() -> None:
    log = [record(link) for link in chain(3)]
    log[1:1] = [b"foreign"]
    whole = reader()
    for offset, one in enumerate(log):
        whole.feed(offset, one)
    block = whole.cut()
    assert block is not None
    again = reader(Position.of(block.before.offset, block.before.metadata()))
    for offset, one in enumerate(log):
        again.feed(offset, one)

    assert again.cut() == block


def test_a_damaged_answer_is_told_by_what_follows_it_and_its_repetition_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    links = chain(5)
    target = reader()
    for offset, one in enumerate(
        [*map(record, links[:3]), b"damaged", *map(record, links[4:]), *map(record, links[3:])]
    ):
        target.feed(offset, one)

    assert stamps(blocks_of(target)) == [-1, 0, 1, 2, 3]
    assert "partition 2, offset 4: " in caplog.text
    assert "records at offsets 3 to 3 may have been answers" in caplog.text
    assert "restart the workers" in caplog.text
    assert target.trouble is None


def test_a_sink_that_starts_behind_a_damaged_answer_knows_that_nothing_counts(caplog: pytest.LogCaptureFixture) -> None:
    links = chain(6)
    target = feed(reader(Position(offset=5, epoch="one", stamp=1, linked=True)), links[4:], at=5)

    assert target.trouble is not None
    assert "partition 2, offset 5: this record continues one that is not there. Nothing" in target.trouble
    assert not caplog.records, "a worker that lost its partition leaves such records, too"
    feed(target, links[3:4], at=7)
    assert target.trouble is None


def test_a_log_that_was_made_anew_may_begin_with_something_foreign() -> None:
    target = reader(Position(offset=9, epoch="one", stamp=7, linked=True))
    target.begin = 9
    links = chain(3, founding("two", stamp=7))

    target.feed(9, b"foreign")
    feed(target, links, at=10)

    assert stamps(blocks_of(target)) == [7, 8, 9]


def test_what_follows_a_damaged_answer_is_not_taken_although_the_log_begins_with_something_foreign() -> None:
    links = chain(3)
    target = reader()
    target.feed(0, b"foreign")
    target.feed(1, record(links[0]))
    target.feed(2, b"damaged")
    target.feed(3, record(links[2]))
    # The worker answers both again, and those are taken.
    feed(target, links[1:], at=4)
    assert [one.header["stamp"] for block in blocks_of(target) for one in block.records] == [-1, 0, 1]


def test_something_foreign_behind_a_hole_belongs_to_it() -> None:
    links = chain(8)
    target = reader(Position(offset=3, epoch="one", stamp=1, linked=True))

    target.feed(5, b"foreign")
    feed(target, links[6:], at=6)

    assert list(target.holes()) == [Bounds(3, 5)]
    assert stamps(blocks_of(target)) == [5, 6]


def test_the_lag_counts_what_no_block_has_taken() -> None:
    target = feed(reader(limits=ONE_EACH), chain(3))
    target.end = 10

    assert target.lag == 10
    target.cut()
    assert target.lag == 9
    blocks_of(target)
    assert target.lag == 7
    assert not target.is_full
