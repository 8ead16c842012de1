"""The tables and views, as users see them."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from sinks.clickhouse.migrations import check, migrate, migrations
from sinks.clickhouse.writer import ClickHouseWriter
from sinks.errors import SchemaError
from sinks.partition import Limits, PartitionReader
from sinks.position import Position
from streams.contracts.chain import Link
from streams.contracts.codec import encode
from streams.contracts.events import Event
from streams.contracts.receipts import receipt
from streams.contracts.sections import Arrival
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import T0, draw_name, event, lines
from tests.integration.sinks.running import Place

TIME = "DateTime64(3, 'UTC')"
MAYBE = f"Nullable({TIME})"
WORD = "LowCardinality(String)"
PLACES = "Array(Tuple(part UInt32, shard UInt32, offset Int64, events UInt64, dead_letters UInt64))"
COLUMNS: dict[str, dict[str, str]] = {
    "events": {
        **dict.fromkeys(("id",), "String"),
        **dict.fromkeys(("source", "provider", "composition", "type", "provider_status"), WORD),
        **dict.fromkeys(("message_id", "recipient", "sender", "return_path", "subject", "reason"), "String"),
        **dict.fromkeys(("api_data", "source_ip", "sender_ip"), "String"),
        **dict.fromkeys(("bounce_code", "bounce_class", "bounce_reason"), WORD),
        "occurred_at": TIME,
        "occurred_raw": "String",
        "received_at": TIME,
        "receipt": "String",
    },
    "lifecycles": {
        "source": WORD,
        "message_id": "String",
        "recipient": "String",
        "state": "String",
        **dict.fromkeys(("queued_at", "first_deferred_at", "last_deferred_at", "delivered_at"), MAYBE),
        **dict.fromkeys(("failed_at", "bounced_at"), MAYBE),
        **dict.fromkeys(("first_seen_at", "last_seen_at"), TIME),
        **dict.fromkeys(("deferrals", "events"), "UInt64"),
        **dict.fromkeys(("bounce_code", "bounce_class", "bounce_reason", "failed_reason"), "String"),
        **dict.fromkeys(("bounced_reason", "sender", "subject", "api_data", "composition"), "String"),
        "delivery_seconds": "Nullable(Float64)",
    },
    "receipts": {
        "receipt": "String",
        "source": WORD,
        "received_at": TIME,
        **dict.fromkeys(("accepted", "unique", "duplicate", "dead_lettered"), "UInt64"),
        "refused": "UInt64",
        "places": PLACES,
        "answered": "UInt8",
        "balanced": "UInt8",
        "status": "String",
    },
    "suppressions": {
        "source": WORD,
        "recipient": "String",
        "reason": "String",
        "since": TIME,
        "until": MAYBE,
        "event": "String",
    },
    "stats_hourly": {
        "hour": TIME,
        "source": WORD,
        "composition": WORD,
        **dict.fromkeys(("sender_domain", "recipient_domain"), "String"),
        **dict.fromkeys(("queued", "deferred", "delivered", "failed", "bounced"), "UInt64"),
        **dict.fromkeys(("hard_bounces", "soft_bounces", "block_bounces"), "UInt64"),
    },
    "cohorts_daily": {
        "day": "Date32",
        "source": WORD,
        **dict.fromkeys(("composition", "sender_domain", "recipient_domain"), "String"),
        **dict.fromkeys(("queued", "delivered", "failed", "bounced", "open"), "UInt64"),
        **dict.fromkeys(("delivery_rate", "bounce_rate", "failure_rate"), "Float64"),
        **dict.fromkeys(("delivery_seconds_p50", "delivery_seconds_p90", "delivery_seconds_p99"), "Nullable(Float32)"),
    },
}
"""What users rely on."""


class Store:
    """Writes sections as blocks of a log of their own."""

    def __init__(self, writer: ClickHouseWriter) -> None:
        self.writer = writer

    async def write(self, **sections: Sequence[Any]) -> None:
        """Write one block."""
        reader = PartitionReader(0, Position(offset=0), Limits(bytes=1, events=1))
        link = Link(epoch=draw_name(), stamp=0, previous=None)
        reader.feed(0, encode(link.header(), {name: lines(values) for name, values in sections.items()}))
        block = reader.cut()
        assert block is not None
        await self.writer.write(block)


@pytest_asyncio.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    assert place.clickhouse is not None
    writer = ClickHouseWriter(connection=place.clickhouse)
    yield Store(writer)
    await writer.close()


@pytest.mark.parametrize("name", COLUMNS)
async def test_the_columns_are_those_that_users_rely_on(tables: Tables, name: str) -> None:
    rows = await tables.rows(
        "select name, type from system.columns where database = currentDatabase()"
        f" and table = '{name}' order by position"
    )

    assert {row["name"]: row["type"] for row in rows} == COLUMNS[name]


async def test_every_table_is_written_through(tables: Tables) -> None:
    described = await tables.rows(
        "select name, engine_full from system.tables where database = currentDatabase() and engine like '%MergeTree'"
    )
    assert len(described) >= 14
    for table in described:
        for setting in ("fsync_after_insert", "fsync_part_directory", "min_rows_to_fsync_after_merge"):
            assert f"{setting} = 1" in table["engine_full"], table["name"]


async def test_migrating_twice_changes_nothing(place: Place) -> None:
    assert place.clickhouse is not None

    assert await migrate(place.clickhouse) == []
    state = await check(place.clickhouse)
    assert state.is_current
    assert list(state.applied) == [migration.name for migration in migrations()]


async def test_migrating_at_the_same_time_does_no_harm(place: Place) -> None:
    assert place.clickhouse is not None
    fresh = place.clickhouse.model_copy(update={"database": f"{place.clickhouse.database}_b"})

    await asyncio.gather(migrate(fresh), migrate(fresh))

    assert (await check(fresh)).is_current


async def test_what_was_applied_with_another_text_is_told(place: Place, tables: Tables) -> None:
    assert place.clickhouse is not None
    await tables.do("insert into schema_migrations (name, checksum) values ('0001_events', 'other')")

    state = await check(place.clickhouse)

    assert list(state.altered) == ["0001_events"]
    with pytest.raises(SchemaError, match="another edition of 0001_events"):
        await migrate(place.clickhouse)


async def test_the_applied_schema_is_that_of_the_files(place: Place, tables: Tables) -> None:
    """Whatever path a database came by, it ends where a fresh one begins."""
    assert place.clickhouse is not None
    fresh = place.clickhouse.model_copy(update={"database": f"{place.clickhouse.database}_c"})
    await migrate(fresh)
    question = (
        "select replaceAll(create_table_query, currentDatabase(), 'mail') from system.tables"
        " where database = currentDatabase() and name not like '.inner%' order by name"
    )

    async with Tables(fresh) as other:
        assert await other.text(question) == await tables.text(question)


@pytest.mark.parametrize(
    "query",
    [
        "select * from lifecycles where message_id = 'm'",
        "select * from lifecycles where source = 's' and message_id = 'm' and recipient = 'r'",
        "select state from lifecycles where message_id in ('m', 'n') and state = 'queued'",
        "select * from receipts where receipt = 'm'",
        "select * from suppressions where recipient = 'm'",
        "select * from stats_hourly where hour >= '2026-03-02 00:00:00'",
    ],
)
async def test_views_are_read_by_their_key(store: Store, tables: Tables, query: str) -> None:
    await store.write(events=[event(1), event(2, type="blocked", message_id="")], receipts=[counted("0" * 32, 1, 1)])

    plan = await tables.text(f"explain indexes = 1 {query}")

    assert "PrimaryKey" in plan
    key = plan.split("PrimaryKey", 1)[1]
    assert "Condition: true" not in key.split("Parts:", 1)[0], plan


def counted(name: str, accepted: int, *found: int, places: Sequence[Arrival] = ()) -> dict[str, Any]:
    """Make a row of what became of a post: unique events, duplicates, dead letters, as many as are given."""
    unique, duplicate, dead_lettered = (*found, 0, 0)[:3]
    return {
        "receipt": name,
        "source": "cmc",
        "received_at": T0,
        "accepted": accepted,
        "unique": unique,
        "duplicate": duplicate,
        "dead_lettered": dead_lettered,
        "places": places,
    }


async def test_receipts_are_the_sums_of_their_parts(store: Store, tables: Tables) -> None:
    instance, other = "a" * 20, "b" * 20
    complete, missing, abandoned, unanswered = (receipt(instance, number) for number in range(1, 5))
    foreign = receipt(other, 1)
    await store.write(
        receipts=[counted(complete, 10, 3, 1), counted(missing, 5, 4), counted(abandoned, 5, 1), counted(foreign, 1, 2)]
    )
    await store.write(
        receipts=[counted(complete, 10, 4, 1, 1), counted(unanswered, 7, 6)],
        answered=[{"instance": instance, "through": 2, "abandoned": []}],
    )
    await store.write(answered=[{"instance": instance, "through": 3, "abandoned": [3]}])

    rows = {row.pop("receipt"): row for row in await tables.rows("select * from receipts")}

    assert rows[complete] == {
        "source": "cmc",
        "received_at": "2026-03-02 09:00:00.000",
        "accepted": 10,
        "unique": 7,
        "duplicate": 2,
        "dead_lettered": 1,
        "refused": 0,
        "places": [],
        "answered": 1,
        "balanced": 1,
        "status": "balanced",
    }
    assert {name: (row["answered"], row["status"]) for name, row in rows.items() if name != complete} == {
        missing: (1, "missing"),
        abandoned: (0, "unanswered"),
        unanswered: (0, "unanswered"),
        foreign: (0, "excess"),
    }


async def test_a_part_that_arrived_twice_counts_once(store: Store, tables: Tables) -> None:
    whole, masked = (receipt("a" * 20, number) for number in (1, 2))
    await store.write(receipts=[counted(whole, 6, 3, 2, 1, places=[(0, 1, 7, 6, 1)])])
    await store.write(receipts=[counted(whole, 6, 0, 5, 1, places=[(0, 1, 9, 6, 1)])])
    await store.write(receipts=[counted(masked, 4, 2, places=[(0, 0, 3, 2, 0)])])
    await store.write(
        receipts=[counted(masked, 4, 0, 2, places=[(0, 0, 4, 2, 0)])],
        answered=[{"instance": "a" * 20, "through": 2, "abandoned": []}],
    )

    rows = {row["receipt"]: row for row in await tables.rows("select * from receipts")}
    figures = ("unique", "duplicate", "dead_lettered", "status")
    assert tuple(rows[whole][name] for name in figures) == (3, 2, 1, "balanced")
    assert {(place["offset"], place["part"]) for place in rows[whole]["places"]} == {(7, 0), (9, 0)}
    assert tuple(rows[masked][name] for name in figures) == (2, 0, 0, "missing"), "a copy stands in for no other part"


async def test_a_block_that_is_written_twice_is_seen(store: Store, tables: Tables) -> None:
    row = counted(receipt("a" * 20, 1), 4, 0, 4, places=[(0, 0, 3, 4, 0)])
    await store.write(receipts=[row])
    await store.write(receipts=[row])

    assert await tables.rows("select status from receipts") == [{"status": "excess"}]


async def test_of_two_words_on_one_address_the_later_counts_and_of_equal_times_the_one_that_blocks(
    store: Store, tables: Tables
) -> None:
    later = "2026-03-03T09:00:00.000Z"
    blocked = {"type": "blocked", "message_id": "", "reason": "unsubscribed", "occurred_at": T0}
    lifted = {**blocked, "type": "unblocked", "reason": ""}
    await store.write(
        events=[
            event(1, **{**lifted, "recipient": "same@x", "occurred_at": later}),
            event(2, **{**blocked, "recipient": "same@x", "occurred_at": later, "reason": ""}),
            event(3, **{**lifted, "recipient": "lifted@x", "occurred_at": later}),
            event(4, **{**blocked, "recipient": ""}),
        ]
    )
    await store.write(
        events=[
            event(5, **{**blocked, "recipient": "lifted@x"}),
            event(6, **{**blocked, "recipient": "again@x", "occurred_at": later}),
            event(7, **{**lifted, "recipient": "again@x"}),
        ]
    )

    assert await tables.rows("select recipient, reason, since, until, event from suppressions order by recipient") == [
        {
            "recipient": "again@x",
            "reason": "unsubscribed",
            "since": "2026-03-03 09:00:00.000",
            "until": None,
            "event": event(6)["id"],
        },
        {
            "recipient": "same@x",
            "reason": "blocked by the provider",
            "since": "2026-03-03 09:00:00.000",
            "until": None,
            "event": event(2)["id"],
        },
    ]


def history() -> list[Event]:
    """Three mails of a day: delivered late, bounced after the delivery, still open; and one that nobody queued."""
    fields = {"sender": "News <info@Shop.Example>", "recipient": "a@example.net", "composition": "pro"}

    def step(number: int, mail: str, type_: str, at: str, **more: str) -> Event:
        return event(
            number, **{**fields, "message_id": mail, "type": type_, "occurred_at": f"2026-03-02T{at}Z", **more}
        )

    return [
        step(1, "late", "queued", "09:00:00.000"),
        step(2, "late", "deferred", "09:59:59.999"),
        step(3, "late", "delivered", "10:00:00.000"),
        step(4, "bounced", "queued", "09:00:00.000"),
        step(5, "bounced", "delivered", "09:00:01.500"),
        step(6, "bounced", "bounced", "11:00:00.000", bounce_class="soft", bounce_code="5"),
        step(7, "open", "queued", "23:59:59.999"),
        step(8, "unseen", "failed", "09:00:00.000"),
        step(9, "", "blocked", "09:00:00.000"),
    ]


async def test_statistics_count_events_by_hour_and_domain(store: Store, tables: Tables) -> None:
    events = history()
    await store.write(events=events[:4])
    await store.write(events=events[4:])

    rows = await tables.rows("select * from stats_hourly order by hour")

    assert {(row["sender_domain"], row["recipient_domain"]) for row in rows} == {("shop.example", "example.net")}
    counts = ("queued", "deferred", "delivered", "failed", "bounced", "hard_bounces", "soft_bounces", "block_bounces")
    assert [(row["hour"][11:16], *(row[name] for name in counts)) for row in rows] == [
        ("09:00", 2, 1, 1, 1, 0, 0, 0, 0),
        ("10:00", 0, 0, 1, 0, 0, 0, 0, 0),
        ("11:00", 0, 0, 0, 0, 1, 0, 1, 0),
        ("23:00", 1, 0, 0, 0, 0, 0, 0, 0),
    ]


async def test_a_cohort_tells_what_became_of_the_mails_of_a_day(store: Store, tables: Tables) -> None:
    await store.write(events=history())

    [row] = await tables.rows("select * from cohorts_daily")

    assert row == {
        "day": "2026-03-02",
        "source": "cmc",
        "composition": "pro",
        "sender_domain": "shop.example",
        "recipient_domain": "example.net",
        "queued": 3,
        "delivered": 1,
        "failed": 0,
        "bounced": 1,
        "open": 1,
        "delivery_rate": 1 / 3,
        "bounce_rate": 1 / 3,
        "failure_rate": 0,
        "delivery_seconds_p50": row["delivery_seconds_p50"],
        "delivery_seconds_p90": row["delivery_seconds_p90"],
        "delivery_seconds_p99": row["delivery_seconds_p99"],
    }
    assert 1.5 <= row["delivery_seconds_p50"] <= row["delivery_seconds_p90"] <= row["delivery_seconds_p99"] <= 3600


@pytest.mark.parametrize("year", ["0001", "1899", "1969", "2106", "2300", "9999"])
async def test_times_that_nobody_expects_are_kept(store: Store, tables: Tables, year: str) -> None:
    time = f"{year}-05-06T07:08:09.123Z"

    await store.write(events=[event(1, occurred_at=time)])

    [row] = await tables.rows("select occurred_at from events", date_time_output_format="iso")
    [hour] = await tables.rows("select hour, queued from stats_hourly", date_time_output_format="iso")
    assert row["occurred_at"] == time
    assert hour == {"hour": f"{year}-05-06T07:00:00.000Z", "queued": 1}


async def test_texts_that_nobody_expects_are_kept(store: Store, tables: Tables) -> None:
    subject = '\x00\x1f"\\\u2028😀 件名 \x7f' + "x" * 100_000

    await store.write(events=[event(1, subject=subject)])

    for table in ("events", "lifecycles"):
        [row] = await tables.rows(f"select subject from {table}")
        assert row == {"subject": subject}


async def test_fields_and_types_of_later_versions_are_taken(store: Store, tables: Tables) -> None:
    later = json.dumps({**event(1, type="opened"), "device": {"kind": "phone"}}).encode()
    broken = json.dumps(event(2)).encode().replace(b"Your receipt", rb"\ud800 alone")

    await store.write(events=[later, broken])

    assert await tables.rows("select type, count() as n from events group by type order by type") == [
        {"type": "opened", "n": 1},
        {"type": "queued", "n": 1},
    ]
