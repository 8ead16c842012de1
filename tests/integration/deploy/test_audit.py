"""The books against real tables and topics: what is missing is named."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from prometheus_client import CollectorRegistry

from deploy.audit import Books, Count, audit
from deploy.settings import Settings
from deploy.span import span
from deploy.watch import AuditRole
from sinks.position import Position
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.receipts import draw_instance, receipt
from tests.eventually import eventually


async def books(settings: Settings) -> Books:
    return await audit(settings, wait=0, clock=SystemClock())


async def insert(settings: Settings, table: str, rows: str) -> None:
    connection = settings.clickhouse
    async with aiohttp.ClientSession() as session:
        url = f"http://{connection.host}:{connection.port}"
        query = f"insert into {connection.database}.{table} {rows}"
        async with session.post(url, data=query) as answer:
            assert answer.status == 200, await answer.text()


async def test_nothing_balances(settings: Settings) -> None:
    empty = await books(settings)

    assert empty.problems() == []
    assert [stage.name for stage in empty.stages] == ["worker", "sink-clickhouse", "sink-topics"]


COLUMNS = "(receipt, source, received_at, accepted, `unique`, duplicate, dead_lettered, places)"
AT = "2026-01-25 05:06:07.000"


async def post(settings: Settings, name: str, accepted: int, unique: int, places: str, *, at: str = AT) -> None:
    row = f"('{name}', 'cmc', '{at}', {accepted}, {unique}, 0, 0, {places})"
    await insert(settings, "receipt_parts", f"{COLUMNS} values {row}")


async def event_rows(settings: Settings, name: str, number: int, *, at: str = AT, first: int = 0) -> None:
    select = f"select lower(hex(MD5(concat('{name}', toString(number)))))"
    rows = f"{select}, '{at}', '{name}' from numbers({first}, {number})"
    await insert(settings, "events", f"(id, received_at, receipt) {rows}")


async def test_an_answered_post_that_lacks_events_is_named_with_its_places(settings: Settings) -> None:
    instance = draw_instance()
    before, short, after, cut_off = (receipt(instance, number) for number in (1, 2, 3, 4))
    await post(settings, before, 2, 2, "[(0, 0, 10, 1, 0), (1, 1, 20, 1, 0)]")
    await post(settings, short, 5, 2, "[(0, 0, 11, 2, 0)]")
    await post(settings, after, 2, 2, "[(0, 0, 12, 1, 0), (1, 1, 23, 1, 0)]")
    await post(settings, cut_off, 5, 0, "[]")
    for name in (before, short, after):
        await event_rows(settings, name, 2)
    await insert(settings, "answered_posts", f"values ('{instance}', 3, [])")

    found = await books(settings)
    assert {status: count.receipts for status, count in found.by_status.items()} == {
        "balanced": 2,
        "missing": 1,
        "unanswered": 1,
    }
    assert [(row["receipt"], row["arrived"], row["near"]) for row in found.missing] == [
        (short, "0:11", "0:10..12, 1:20..23")
    ]
    assert found.problems() == ["1 answered posts are not complete: 3 of their events are missing"]
    assert not found.is_open


async def test_rows_that_are_gone_are_named_with_their_receipt(settings: Settings) -> None:
    instance = draw_instance()
    whole, robbed = (receipt(instance, number) for number in (1, 2))
    for name in (whole, robbed):
        await post(settings, name, 3, 3, "[(0, 1, 7, 3, 0)]")
    await event_rows(settings, whole, 3)
    await event_rows(settings, robbed, 1)

    found = await books(settings)
    assert found.problems() == ["events: 4 rows, where the receipts count 6 unique ones"]
    assert [(row["receipt"], row["rows"], row["unique"], row["arrived"]) for row in found.rows_missing] == [
        (robbed, 1, 3, "1:7")
    ]


async def test_a_span_leaves_out_what_was_received_before_and_after(settings: Settings) -> None:
    instance = draw_instance()
    hours = [f"2026-01-25 {hour:02d}:30:00.000" for hour in (3, 4, 5)]
    for number, at in enumerate(hours, 1):
        name = receipt(instance, number)
        await post(settings, name, 2, 1, "[(0, 0, 7, 1, 0)]", at=at)
        await event_rows(settings, name, 1, at=at)
    await insert(settings, "answered_posts", f"values ('{instance}', 3, [])")

    wanted = span("2026-01-25T04:00:00Z", "2026-01-25T05:00:00Z", datetime.now(UTC))
    found = await audit(settings, wait=0, clock=SystemClock(), span=wanted)
    assert [row["receipt"] for row in found.missing] == [receipt(instance, 2)]
    assert found.events == 1
    assert (await books(settings)).by_status["missing"].receipts == 3


async def test_copies_of_a_part_do_not_unbalance_the_books(settings: Settings) -> None:
    name = receipt(draw_instance(), 1)
    row = f"('{name}', 'cmc', '{AT}', 3, {{}})"
    first, copy = row.format("2, 0, 1, [(0, 1, 7, 3, 1)]"), row.format("0, 2, 1, [(0, 1, 9, 3, 1)]")
    await insert(settings, "receipt_parts", f"{COLUMNS} values {first}, {copy}")
    await event_rows(settings, name, 2)
    letter = "(receipt, number, part, parts, source, reason, received_at, raw_base64)"
    letters = ", ".join([f"('{name}', 0, 0, 1, 'cmc', 'body_shape', '{AT}', 'eA==')"] * 2)
    await insert(settings, "dead_letters", f"{letter} values {letters}")

    found = await books(settings)
    assert found.problems() == []
    assert found.total == Count(receipts=1, accepted=3, unique=2, duplicate=0, dead_lettered=1)


async def test_a_letter_of_the_worker_counts_for_every_event_in_it(settings: Settings) -> None:
    row = f"('{receipt(draw_instance(), 1)}', 'cmc', '{AT}', 3, 0, 0, 3, [(0, 1, 7, 3, 0)])"
    await insert(settings, "receipt_parts", f"{COLUMNS} values {row}")
    columns = "(receipt, number, part, parts, reason, topic, partition, offset, received_at, raw_base64)"
    letter = f"('', 0, 0, 1, 'chunk_poison', 'inbox', 1, 7, '{AT}', 'YQpiCmMK')"
    await insert(settings, "dead_letters", f"{columns} values {letter}")

    found = await books(settings)
    assert found.problems() == []
    assert found.dead_letters == 3


async def test_the_watch_tells_the_books_as_readiness_and_metrics(settings: Settings) -> None:
    registry = CollectorRegistry()
    role = AuditRole(settings=settings, every=0.05, since="1d", settled=0, registry=registry)
    instance = draw_instance()
    watching = asyncio.create_task(role.wait())
    try:

        async def readiness() -> tuple[bool, Mapping[str, Any]]:
            return role.readiness()

        await eventually(readiness, lambda answer: answer[0])
        assert registry.get_sample_value("todoke_books_balanced") == 1
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.000")
        await post(settings, receipt(instance, 1), 3, 1, "[(0, 1, 7, 1, 0)]", at=now)
        await insert(settings, "answered_posts", f"values ('{instance}', 1, [])")

        _, state = await eventually(readiness, lambda answer: not answer[0])
        assert state["missing"][0]["receipt"] == receipt(instance, 1)
        assert registry.get_sample_value("todoke_books_balanced") == 0
        assert registry.get_sample_value("todoke_books_receipts", {"status": "missing"}) == 1
        assert registry.get_sample_value("todoke_books_missing_events") == 2
    finally:
        await role.stop(Deadline(5, SystemClock()))
        await watching


async def commit(settings: Settings, shard: int, position: Position) -> None:
    """Commit for the ClickHouse sink."""
    outbox = settings.topics.topics().outbox.name
    async with AIOKafkaConsumer(
        **settings.kafka.client_options(), group_id=f"{outbox}.clickhouse", enable_auto_commit=False
    ) as consumer:
        place = TopicPartition(outbox, shard)
        consumer.assign([place])
        await consumer.commit({place: OffsetAndMetadata(position.offset, position.metadata())})


async def test_tables_that_know_nothing_of_what_the_sink_has_brought_are_told(settings: Settings) -> None:
    await commit(settings, 1, Position(offset=3, epoch="one", stamp=2, linked=True))
    found = await books(settings)
    [problem] = found.problems()
    assert "the tables lack something that the sink has brought of shards 1: " in problem
    assert "todoke rebuild" in problem
    assert not found.is_open
    await insert(settings, "blocks", "(shard, epoch, first, last, stamp, linked) values (1, 'one', 0, 2, 2, true)")
    assert (await books(settings)).problems() == []
    await commit(settings, 1, Position(offset=9, epoch="one", stamp=8, linked=True, reached=("one", 8)))
    [problem] = (await books(settings)).problems()
    assert "brought back from an older copy" in problem
    await insert(settings, "generations", "(generation, ready) values (1, false)")
    assert (await books(settings)).problems() == []


async def test_a_loss_is_told_with_its_offsets(settings: Settings) -> None:
    await insert(settings, "losses", "values ('inbox', 1, 10, 19, '2026-01-25 05:06:07.000')")

    found = await books(settings)
    assert found.problems() == ["1 spans of the log were gone before they could be read"]
    assert [(row["shard"], row["first"], row["last"]) for row in found.lost] == [(1, 10, 19)]
