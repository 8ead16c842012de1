"""Outbox in, public topics out: a consumer that reads what is committed gets each record once, whatever dies."""

import asyncio
import json
import operator
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from prometheus_client import CollectorRegistry

from sinks.errors import BreakerError, HandedOverError
from sinks.group import OutboxGroup
from sinks.partition import Limits, PartitionReader
from sinks.position import Position
from sinks.settings import TopicsSinkSettings
from sinks.topics import TransactionDelivery
from streams.contracts.chain import Link
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.codec import encode
from streams.contracts.dead_letter import PART_LIMIT
from streams.contracts.sections import Outbox
from tests.eventually import eventually
from tests.integration.sinks.outbox import OutboxLog, event, letter, lifecycle_line, lines, sections_of
from tests.integration.sinks.running import Place, drain, running

PARTITIONS = 4
Records = list[ConsumerRecord[bytes | None, bytes | None]]


async def consume(
    place: Place, *names: str, isolation: str = "read_committed", partitions: int = PARTITIONS
) -> Records:
    """Read topics to their ends, as a consumer that somebody else wrote."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=place.kafka.bootstrap_servers,
        isolation_level=isolation,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        places = [TopicPartition(name, partition) for name in names for partition in range(partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        records: Records = []
        async with asyncio.timeout(60):
            # The position moves over the marks of transactions too, which are no records.
            while any([await consumer.position(at) < ends[at] for at in places]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    records += batch
        return records
    finally:
        await consumer.stop()


async def write(log: OutboxLog, events: int, *, per_record: int = 10, start: int = 0) -> int:
    """Write events and the growing lifecycles of a few messages; tell the number of the next event."""
    for number in range(start, start + events, per_record):
        partition = number // per_record % PARTITIONS
        some = [event(number + place) for place in range(per_record)]
        grown = lifecycle_line(event(partition, message_id=f"long-{partition}"), events=number)
        sections = sections_of(some)
        sections[Outbox.LIFECYCLES.value] += lines([grown])
        await log.answer(partition, sections)
    return start + events


def ids(records: Records) -> Counter[str]:
    return Counter(dict(record.headers)["id"].decode() for record in records)


def expected_ids(number: int) -> Counter[str]:
    return Counter(event(one)["id"] for one in range(number))


async def test_every_section_reaches_its_topic(topics_place: Place, log: OutboxLog) -> None:
    blocked = {
        "source": "cmc",
        "recipient": "a@example.jp",
        "blocked": True,
        "reason": "unsubscribed",
        "since": "2026-03-02T09:00:00.000Z",
        "until": None,
        "event": "0f",
    }
    sections = {
        **sections_of([event(1), event(2)]),
        Outbox.SUPPRESSIONS.value: lines([blocked, {**blocked, "blocked": False}]),
        Outbox.DEAD_LETTERS.value: lines([letter(0)]),
    }
    await log.answer(3, sections)

    await drain(topics_place.topics_role())

    names = topics_place.topics
    events = await consume(topics_place, names.events.name)
    assert [(record.partition, record.key, json.loads(record.value or b"")) for record in events] == [
        (3, b"m1@example.com", event(1)),
        (3, b"m2@example.com", event(2)),
    ]
    lifecycles = await consume(topics_place, names.lifecycles.name)
    assert [record.key for record in lifecycles] == [
        b"cmc\x1fm1@example.com\x1fuser1@example.net",
        b"cmc\x1fm2@example.com\x1fuser2@example.net",
    ]
    assert all(b"~" not in (record.value or b"~") for record in lifecycles)
    suppressions = await consume(topics_place, names.suppressions.name)
    assert [record.value is None for record in suppressions] == [False, True]
    [dead] = await consume(topics_place, names.deadletter.name)
    assert dead.value == b"\xff\x00"
    assert dict(dead.headers)["reason"] == b"body_unreadable"


async def test_a_record_that_is_alone_does_not_wait_for_others(topics_place: Place, log: OutboxLog) -> None:
    async with running(topics_place.topics_role(interval=30)):
        await write(log, 10)

        await eventually(
            lambda: consume(topics_place, topics_place.topics.events.name),
            lambda records: ids(records) == expected_ids(10),
        )


async def test_records_as_large_as_may_be_are_published(topics_place: Place, log: OutboxLog) -> None:
    large = [event(number, subject="件" * 290_000) for number in range(3)]
    for one in large:
        await log.answer(0, sections_of([one]))
    raw = "A" * (4 * ((PART_LIMIT + 2) // 3))
    await log.answer(1, {Outbox.DEAD_LETTERS.value: lines([{**letter(0), "raw_base64": raw}] * 3)})

    await drain(topics_place.topics_role())

    assert len(await consume(topics_place, topics_place.topics.events.name)) == 3
    assert len(await consume(topics_place, topics_place.topics.deadletter.name)) == 3


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_records_may_be_compressed(topics_place: Place, log: OutboxLog, compression: str) -> None:
    await write(log, 200)

    await drain(topics_place.topics_role(compression=compression))

    assert ids(await consume(topics_place, topics_place.topics.events.name)) == expected_ids(200)


async def test_what_does_not_belong_to_the_chain_is_not_published(topics_place: Place, log: OutboxLog) -> None:
    await write(log, 80)
    await log.append(0, log.last[0], sections_of([event(1)]))
    lost = Link(epoch=log.last[0].epoch, stamp=99, previous=98)
    await log.append(0, lost, sections_of([event(2)]))
    await write(log, 40, start=80)

    await drain(topics_place.topics_role())

    assert ids(await consume(topics_place, topics_place.topics.events.name)) == expected_ids(120)


async def test_sinks_killed_at_any_moment(topics_place: Place, log: OutboxLog) -> None:
    """Each is killed while transactions are under way; what they had begun is taken back and done again."""
    chance = random.Random(3)  # noqa: S311 - chooses when to kill
    written = 0
    for _ in range(5):
        written = await write(log, 800, start=written)
        least = await attempted(topics_place) + chance.randrange(1, 600)
        async with topics_place.process("topics", block_events=50, instance="sink-1"):
            await eventually(lambda: attempted(topics_place), partial(operator.le, least))
    written = await write(log, 400, start=written)

    await drain(topics_place.topics_role(instance="sink-1"))

    await assert_exactly_once(topics_place, written)


async def attempted(place: Place) -> int:
    """Count what was ever written, taken back or not."""
    return len(await consume(place, place.topics.events.name, isolation="read_uncommitted"))


async def test_two_sinks_share_the_partitions_while_they_come_and_go(topics_place: Place, log: OutboxLog) -> None:
    written = 0
    async with running(topics_place.topics_role(block_events=20)):
        written = await write(log, 800, start=written)
        async with running(topics_place.topics_role(block_events=33)):
            written = await write(log, 800, start=written)
            async with topics_place.process("topics", block_events=13):
                written = await write(log, 800, start=written)
        written = await write(log, 800, start=written)

    await drain(topics_place.topics_role())

    await assert_exactly_once(topics_place, written)


async def test_a_sink_that_lost_its_partition_without_noticing_publishes_nothing(topics_place: Place) -> None:
    """Two processes that both believe a partition is theirs, as after a pause of the first."""
    former, owner = delivery(topics_place), delivery(topics_place)
    reader = PartitionReader(0, Position(offset=0), Limits(bytes=1 << 30, events=1 << 30))
    for stamp in range(3):
        link = Link(epoch="one", stamp=stamp, previous=stamp - 1)
        reader.feed(stamp, encode(link.header(), sections_of([event(stamp)])))
    block = reader.cut()
    assert block is not None
    async with member(former[0]), member(owner[0]):
        await former[1].open(0)
        assert await owner[1].open(0) is None

        with pytest.raises(HandedOverError):
            await former[1].deliver([block])
        await owner[1].deliver([block])

        assert await owner[1].open(0) == replace(block.after, refusals=(0, 3, 0))
        await asyncio.gather(former[1].release([0]), owner[1].release([0]))

    assert ids(await consume(topics_place, topics_place.topics.events.name)) == expected_ids(3)


async def assert_exactly_once(place: Place, written: int) -> None:
    """Each event is there once, and each change of a lifecycle, in the order in which it grew."""
    assert ids(await consume(place, place.topics.events.name)) == expected_ids(written)
    lifecycles = await consume(place, place.topics.lifecycles.name)
    for partition in range(PARTITIONS):
        grown = [value for value in values(lifecycles) if value["message_id"] == f"long-{partition}"]
        assert [value["events"] for value in grown] == list(range(partition * 10, written, PARTITIONS * 10))
    assert len(lifecycles) == written + written // 10


def values(records: Records) -> Sequence[dict[str, int | str]]:
    return [json.loads(record.value or b"") for record in records]


async def test_a_line_that_cannot_be_published_goes_to_the_dead_letters_alone(
    topics_place: Place, log: OutboxLog
) -> None:
    bad_event, bad_lifecycle = b'{"no":"event"}', b'{"no":"lifecycle"}'
    await write(log, 80)
    sections = sections_of([event(number) for number in range(80, 90)])
    sections[Outbox.EVENTS.value] = lines([bad_event]) + sections[Outbox.EVENTS.value]
    sections[Outbox.LIFECYCLES.value] += lines([bad_lifecycle])
    link = await log.answer(0, sections)
    await write(log, 40, start=90)

    await drain(topics_place.topics_role())

    names = topics_place.topics
    assert ids(await consume(topics_place, names.events.name)) == expected_ids(130)
    letters = await consume(topics_place, names.deadletter.name)
    assert [letter.value for letter in letters] == [bad_event, bad_lifecycle]
    headers = dict(letters[1].headers)
    assert headers["reason"] == b"row_refused"
    assert [headers[name] for name in ("topic", "partition", "offset", "number")] == [
        names.inbox.name.encode(),
        b"0",
        str(link.stamp).encode(),
        b"10",
    ]


async def test_too_many_lines_that_cannot_be_published_stop_the_sink(topics_place: Place, log: OutboxLog) -> None:
    """However often it is started again."""
    for _ in range(12):
        await log.answer(0, {Outbox.EVENTS.value: lines([b'{"no":"event"}'])})
    for _ in range(2):
        role = topics_place.topics_role(dead_letter_run=5, block_events=1)
        await role.start()
        with pytest.raises(BreakerError, match=r"5 rows one after the other.*sink\.topics\.dead_letter_run"):
            await asyncio.wait_for(role.wait(), 60)
        await role.stop(Deadline(10, SystemClock()))

    assert len(await consume(topics_place, topics_place.topics.deadletter.name)) == 5


def delivery(place: Place) -> tuple[OutboxGroup, TransactionDelivery]:
    settings = TopicsSinkSettings(**place.settings)
    group = OutboxGroup(kafka=place.kafka, topic=place.topics.outbox, group=f"{place.prefix}group", settings=settings)
    return group, TransactionDelivery(group=group, kafka=place.kafka, topics=place.topics, settings=settings)


@asynccontextmanager
async def member(group: OutboxGroup) -> AsyncIterator[None]:
    """Be a member of a group, whatever it assigns."""

    async def revoked() -> None:
        pass

    await group.connect()
    group.join(revoked, lambda _: None)
    try:
        yield
    finally:
        await group.leave()


async def test_a_group_is_left_in_order_while_its_client_waits_to_try_again(topics_place: Place) -> None:
    """The client cancels that task of its own, waits for it, and hands the cancellation on."""
    group, _ = delivery(topics_place)
    await group.connect()
    fetcher: Any = group.consumer._fetcher
    fetcher._pending_tasks.add(asyncio.create_task(asyncio.sleep(60)))
    await group.leave()


async def test_a_sink_behind_a_damaged_answer_is_not_ready_and_says_why(topics_place: Place, log: OutboxLog) -> None:
    registry = CollectorRegistry()
    damaged = await log.answer(1, sections_of([event(0)]))
    follower = replace(damaged, stamp=damaged.stamp + 2, previous=damaged.stamp + 1)

    async with running(role := topics_place.topics_role(registry=registry)):

        async def readiness() -> tuple[bool, str]:
            ready, state = role.readiness()
            return ready, " ".join(state["trouble"])

        def stuck() -> float | None:
            return registry.get_sample_value("todoke_sink_stuck_partitions", {"sink": "topics"})

        await eventually(readiness, lambda found: found[0])
        await log.put(1, b"damaged")
        await log.append(1, follower, sections_of([event(2)]))
        _, trouble = await eventually(readiness, lambda found: not found[0] and bool(found[1]))
        assert "partition 1, offset 3" in trouble
        assert "restart the workers" in trouble
        assert stuck() == 1
        await log.answer(1, sections_of([event(1)]))
        await eventually(readiness, lambda found: found == (True, ""))
        assert stuck() == 0
