"""Outbox in, rows out: exact whatever dies in between."""

import asyncio
import base64
import random
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import OffsetAndMetadata

from sinks.clickhouse.migrations import migrate
from sinks.errors import SchemaError, UnreachableError
from sinks.partition import STRAYS_TO_TELL
from sinks.position import Position
from sinks.settings import ClickHouseConnection
from streams.contracts.chain import Link
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.sections import Outbox
from tests.eventually import eventually
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import T0, OutboxLog, event, lines, sections_of
from tests.integration.sinks.running import Place, drain, run_until_killed, running

PARTITIONS = 4
NAMED = "sink-1"
"""A sink that is killed comes back under its name at once; without one its session has to run out first."""


async def write(log: OutboxLog, events: int, *, per_record: int = 10, start: int = 0) -> int:
    """Spread events over all partitions, with a receipt per record; tell the number of the next event."""
    for number in range(start, start + events, per_record):
        some = [event(number + place) for place in range(per_record)]
        receipt = {
            "receipt": f"{number:032x}",
            "source": "cmc",
            "received_at": T0,
            "accepted": per_record,
            "unique": per_record,
            "duplicate": 0,
            "dead_lettered": 0,
        }
        partition = number // per_record % PARTITIONS
        await log.answer(partition, sections_of(some, **{Outbox.RECEIPTS.value: lines([receipt])}))
    return start + events


async def counted(tables: Tables) -> dict[str, int]:
    """Count each event in every table that it should be in once."""
    questions = {
        "events": "select count() from events",
        "distinct": "select uniqExact(id) from events",
        "lifecycles": "select sum(events) from lifecycles",
        "hourly": "select sum(queued + deferred + delivered + failed + bounced) from stats_hourly",
        "receipts": "select sum(`unique`) from receipts",
    }
    return {name: await tables.number(question) for name, question in questions.items()}


def each(number: int) -> dict[str, int]:
    """Say what `counted` should tell."""
    return dict.fromkeys(("events", "distinct", "lifecycles", "hourly", "receipts"), number)


async def test_everything_in_the_outbox_arrives(place: Place, log: OutboxLog, tables: Tables) -> None:
    blocked = event(1, type="blocked", message_id="", recipient="a@example.jp", reason="unsubscribed")
    letter = {
        "receipt": "0a",
        "number": 0,
        "part": 0,
        "parts": 1,
        "source": "cmc",
        "reason": "body_unreadable",
        "detail": "not JSON",
        "topic": "",
        "partition": -1,
        "offset": -1,
        "version": "1",
        "received_at": T0,
        "raw_base64": base64.b64encode(bytes(range(256))).decode(),
    }
    loss = {"shard": 0, "first": 3, "last": 5, "found_at": T0}
    answered = {"instance": "0" * 20, "through": 7, "abandoned": [3]}
    await log.answer(
        0,
        {
            **sections_of([event(2), blocked]),
            Outbox.DEAD_LETTERS.value: lines([letter]),
            Outbox.LOSSES.value: lines([loss]),
            Outbox.ANSWERED.value: lines([answered]),
        },
    )

    await drain(place.clickhouse_role())

    assert await tables.rows("select * from events where type = 'queued'") == [
        {**event(2), "occurred_at": "2026-03-02 09:00:02.000", "received_at": "2026-03-02 10:00:00.000"}
    ]
    assert await tables.rows("select recipient, reason, until from suppressions") == [
        {"recipient": "a@example.jp", "reason": "unsubscribed", "until": None}
    ]
    assert await tables.text("select hex(raw), reason, topic, offset from dead_letters") == (
        f"{bytes(range(256)).hex().upper()}\tbody_unreadable\t\t-1\n"
    )
    assert await tables.rows("select topic, shard, first, last from losses") == [
        {"topic": "inbox", "shard": 0, "first": 3, "last": 5}
    ]
    assert await tables.rows("select through, abandoned from answered_posts") == [{"through": 7, "abandoned": [3]}]


async def test_what_nothing_follows_does_not_wait_for_more(place: Place, log: OutboxLog, tables: Tables) -> None:
    async with running(place.clickhouse_role(interval=60)):
        await write(log, 10)
        await eventually(lambda: counted(tables), lambda found: found == each(10))

        await write(log, 10, start=10)
        await eventually(lambda: counted(tables), lambda found: found == each(20))


async def test_records_as_large_as_may_be_are_read(place: Place, log: OutboxLog, tables: Tables) -> None:
    for number in range(3):
        await log.answer(0, sections_of([event(number, subject="x" * 7_500_000)]))

    await drain(place.clickhouse_role(fetch_bytes=1024))

    assert await tables.number("select sum(length(subject)) from events") == 3 * 7_500_000


async def test_what_does_not_belong_to_the_chain_is_not_counted(place: Place, log: OutboxLog, tables: Tables) -> None:
    await write(log, 80)
    last = log.last[0]
    for stray in (
        last,  # sent again by a worker that did not hear the answer
        Link(epoch=last.epoch, stamp=last.stamp + 2, previous=last.stamp + 1),  # behind one that got lost
        Link(epoch="f" * 16, stamp=last.stamp + 1, previous=last.stamp),  # by a worker of another log
    ):
        await log.append(0, stray, sections_of([event(1)]))
    await write(log, 40, start=80)

    await drain(place.clickhouse_role())

    assert await counted(tables) == each(120)


async def test_a_new_epoch_begins_in_the_middle_of_the_log(place: Place, log: OutboxLog, tables: Tables) -> None:
    await write(log, 80)
    for partition in range(PARTITIONS):
        await log.found(partition, previous=log.last[partition].stamp)
    await write(log, 80, start=80)

    await drain(place.clickhouse_role(block_events=30))

    assert await counted(tables) == each(160)
    assert await tables.number("select uniqExact(epoch) from blocks final") == PARTITIONS


@pytest.mark.parametrize("inserts", range(4))
async def test_a_sink_killed_after_any_insert_is_repeated_exactly(
    place: Place, log: OutboxLog, tables: Tables, inserts: int
) -> None:
    """0: the intent is written down, nothing else. 1: events. 2: receipts. 3: the whole block, but not committed."""
    await write(log, 40)
    await drain(place.clickhouse_role())
    await write(log, 200, start=40)

    await run_until_killed(place, "clickhouse", inserts=inserts, concurrency=1, instance=NAMED)
    await write(log, 40, start=240)
    await drain(place.clickhouse_role(block_events=7, instance=NAMED))

    assert await counted(tables) == each(280)


async def test_sinks_killed_again_and_again(place: Place, log: OutboxLog, tables: Tables) -> None:
    chance = random.Random(7)  # noqa: S311 - chooses when to kill
    written = 0
    for _ in range(4):
        written = await write(log, 400, start=written)
        inserts = chance.randrange(2, 20)
        await run_until_killed(place, "clickhouse", inserts=inserts, block_events=30, instance=NAMED)

    await drain(place.clickhouse_role(instance=NAMED))

    assert await counted(tables) == each(1600)


async def test_two_sinks_share_the_partitions_while_they_come_and_go(
    place: Place, log: OutboxLog, tables: Tables
) -> None:
    written = 0
    async with running(place.clickhouse_role(block_events=20)):
        written = await write(log, 800, start=written)
        async with running(place.clickhouse_role(block_events=33)):
            written = await write(log, 800, start=written)
            async with place.process("clickhouse", block_events=13):
                written = await write(log, 800, start=written)
        written = await write(log, 800, start=written)

    await drain(place.clickhouse_role())

    assert await counted(tables) == each(written)


async def test_a_named_sink_comes_back_before_its_session_has_run_out(
    place: Place, log: OutboxLog, tables: Tables
) -> None:
    await write(log, 40)
    await run_until_killed(place, "clickhouse", inserts=1, instance=NAMED, session_timeout=60)

    await asyncio.wait_for(drain(place.clickhouse_role(instance=NAMED, session_timeout=60)), 30)

    assert await counted(tables) == each(40)


async def test_what_the_log_no_longer_holds_is_reported_as_lost(place: Place, log: OutboxLog, tables: Tables) -> None:
    await write(log, 200)
    await drain(place.clickhouse_role())
    await write(log, 200, start=200)
    await delete_before(place, partition=1, offset=9)

    await drain(place.clickhouse_role())

    assert await tables.rows("select topic, shard, first, last from losses") == [
        {"topic": "outbox", "shard": 1, "first": 6, "last": 8}
    ]
    assert await counted(tables) == each(370)


async def test_a_sink_whose_position_kafka_has_forgotten_recognises_what_is_there(
    place: Place, log: OutboxLog, tables: Tables
) -> None:
    await write(log, 200)
    await drain(place.clickhouse_role())
    await write(log, 40, start=200)
    await delete_before(place, partition=1, offset=3)

    await drain(place.clickhouse_role(group="a group that Kafka does not know"))

    assert await counted(tables) == each(240)
    assert await tables.number("select count() from losses") == 0


async def test_a_position_that_was_set_back_does_no_harm(place: Place, log: OutboxLog, tables: Tables) -> None:
    await write(log, 200)
    await drain(place.clickhouse_role(block_events=30))
    await set_back(place)
    await write(log, 40, start=200)

    await drain(place.clickhouse_role(block_events=50))

    assert await counted(tables) == each(240)


async def test_a_log_that_was_empty_for_a_while_goes_on_with_a_new_epoch(
    place: Place, log: OutboxLog, tables: Tables
) -> None:
    """No worker ran for longer than the outbox is kept."""
    written = await write(log, 200)
    await drain(place.clickhouse_role())
    for partition in range(PARTITIONS):
        await delete_before(place, partition=partition, offset=-1)
        await log.found(partition, stamp=log.last[partition].stamp)
    written = await write(log, 80, start=written)

    await drain(place.clickhouse_role())

    assert await counted(tables) == each(written)
    assert await tables.number("select count() from losses") == 0


async def test_a_log_that_was_made_anew_and_has_grown_further_is_noticed(
    place: Place, log: OutboxLog, tables: Tables
) -> None:
    """The group's positions are those in a log that is no more, and the new one is longer already."""
    written = await write(log, 4 * PARTITIONS * STRAYS_TO_TELL, per_record=2)
    old = Position(offset=STRAYS_TO_TELL // 2, epoch="0123456789abcdef", stamp=7000, linked=True)
    await set_back(place, dict.fromkeys(range(PARTITIONS), old))
    for shard in range(PARTITIONS):
        await tables.do(f"insert into blocks (shard, epoch, stamp) values ({shard}, '{old.epoch}', {old.stamp})")

    async with running(place.clickhouse_role()):
        await eventually(lambda: counted(tables), lambda found: found == each(written))


async def test_a_database_without_tables_stops_the_sink(place: Place) -> None:
    assert place.clickhouse is not None
    empty = place.clickhouse.model_copy(update={"database": place.clickhouse.database + "_empty"})
    role = Place(kafka=place.kafka, prefix=place.prefix, topics=place.topics, clickhouse=empty).clickhouse_role()

    with pytest.raises(SchemaError, match="todoke migrate"):
        await role.start()


async def test_a_database_that_is_behind_stops_the_sink(place: Place, tables: Tables) -> None:
    await tables.do("alter table schema_migrations delete where name = '0007_books' settings mutations_sync = 1")

    with pytest.raises(SchemaError, match="lacks 0007_books of the schema: run `todoke migrate`"):
        await place.clickhouse_role().start()


async def test_a_table_that_disappears_stops_the_sink_and_nothing_is_skipped(
    place: Place, log: OutboxLog, tables: Tables
) -> None:
    assert place.clickhouse is not None
    await write(log, 40)
    await tables.do("drop table receipt_parts sync")
    role = place.clickhouse_role()
    await role.start()
    with pytest.raises(SchemaError, match="todoke migrate"):
        await asyncio.wait_for(role.wait(), 30)
    await role.stop(Deadline(10, SystemClock()))

    gone = "name in ('0003_receipts', '0008_places')"
    await tables.do(f"alter table schema_migrations delete where {gone} settings mutations_sync = 1")
    await migrate(place.clickhouse)
    await drain(place.clickhouse_role())

    assert await counted(tables) == each(40)


async def test_a_sink_does_not_start_without_its_servers(place: Place) -> None:
    nowhere = ClickHouseConnection(port=1, connect_timeout=1)
    role = Place(kafka=place.kafka, prefix=place.prefix, topics=place.topics, clickhouse=nowhere).clickhouse_role()

    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1"):
        await role.start()


async def delete_before(place: Place, *, partition: int, offset: int) -> None:
    """Let Kafka forget the beginning of a log, as its retention would."""
    admin = AIOKafkaAdminClient(**place.kafka.client_options())
    await admin.start()
    try:
        where = TopicPartition(place.topics.outbox.name, partition)
        await admin.delete_records({where: RecordsToDelete(before_offset=offset)})
    finally:
        await admin.close()


async def set_back(place: Place, positions: Mapping[int, Position] | None = None) -> None:
    """Set the group to a position in each partition, or to their beginnings, as with Kafka's own tools."""
    consumer = AIOKafkaConsumer(
        **place.kafka.client_options(), group_id=f"{place.topics.outbox.name}.clickhouse", enable_auto_commit=False
    )
    async with consumer:
        places = {partition: TopicPartition(place.topics.outbox.name, partition) for partition in range(PARTITIONS)}
        consumer.assign(list(places.values()))
        if positions is None:
            await consumer.commit(dict.fromkeys(places.values(), 0))
        else:
            to = {places[of]: OffsetAndMetadata(one.offset, one.metadata()) for of, one in positions.items()}
            await consumer.commit(to)


async def test_positions_are_lost_while_the_log_holds_two_epochs(place: Place, log: OutboxLog, tables: Tables) -> None:
    written = await write(log, 40)
    await drain(place.clickhouse_role())
    for partition in range(PARTITIONS):
        await log.found(partition, previous=log.last[partition].stamp)
    written = await write(log, 200, start=written)
    await drain(place.clickhouse_role(block_events=30))

    await set_back(place)
    written = await write(log, 40, start=written)
    await drain(place.clickhouse_role(block_events=50))

    assert await counted(tables) == each(written)
