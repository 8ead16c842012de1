"""Rows that ClickHouse refuses, and blocks that are too large for it: what is good gets in once, the rest aside."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import pytest
import pytest_asyncio
from aiohttp import web

from deploy.embedded.clickhouse import EmbeddedClickHouse
from sinks.block import Block
from sinks.breaker import Limits
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.writer import ClickHouseWriter
from sinks.errors import BreakerError, RefusedError, TooLargeError
from sinks.partition import Limits as BlockLimits
from sinks.partition import PartitionReader
from sinks.position import Position
from sinks.settings import ClickHouseConnection
from streams.contracts.chain import Link
from streams.contracts.codec import encode
from streams.contracts.events import Event
from streams.contracts.sections import Outbox
from tests.faults.clickhouse_proxy import Call, ClickHouseProxy, Fault
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import T0, event, lines, sections_of

LOOSE = Limits(run=1000, ratio=1.0)
REFUSE = "alter table events add constraint no_poison check subject != 'poison'"
ALLOW = "alter table events drop constraint no_poison"


class KilledError(Exception):
    """Stands for the end of the process."""


class MortalWriter(ClickHouseWriter):
    """Ends after some inserts: before the next one, or after the last one but before its answer."""

    left = 10**9
    before = True

    async def _insert(self, table: str, lines: bytes, name: str, columns: Sequence[str] | None = None) -> None:
        if self.left <= 0 and self.before:
            raise KilledError
        await super()._insert(table, lines, name, columns)
        self.left -= 1
        if self.left < 0:
            raise KilledError


@pytest_asyncio.fixture
async def connection(clickhouse: EmbeddedClickHouse, database: str) -> ClickHouseConnection:
    made = ClickHouseConnection(port=clickhouse.port, database=database)
    await migrate(made)
    return made


@pytest_asyncio.fixture
async def tables(connection: ClickHouseConnection) -> AsyncIterator[Tables]:
    async with Tables(connection) as opened:
        yield opened


@asynccontextmanager
async def writing(
    connection: ClickHouseConnection,
    *,
    inserts: int = 10**9,
    before: bool = True,
    limits: Limits = LOOSE,
    compression: Literal["none", "zstd"] = "zstd",
) -> AsyncIterator[ClickHouseWriter]:
    """Open a writer as the sink does, for partition 0."""
    writer = MortalWriter(connection=connection, limits=limits, inbox="mail.inbox", compression=compression)
    writer.left, writer.before = inserts, before
    await writer.open(0)
    try:
        yield writer
    finally:
        await writer.close()


def block(events: Sequence[Event], *, first: int = 1, epoch: str = "one", per_record: int = 4) -> Block:
    """Make a block of records of some events each, with a receipt for each event's post."""
    reader = PartitionReader(0, Position(offset=first), BlockLimits(bytes=1 << 30, events=1 << 30))
    for place, begin in enumerate(range(0, len(events), per_record)):
        some = events[begin : begin + per_record]
        posts = {one["receipt"]: sum(other["receipt"] == one["receipt"] for other in some) for one in some}
        receipts = [
            {
                "receipt": post,
                "source": "cmc",
                "received_at": T0,
                "accepted": count,
                "unique": count,
                "duplicate": 0,
                "dead_lettered": 0,
                "places": [[0, 0, first + place - 1, count, 0]],
            }
            for post, count in posts.items()
        ]
        stamp = first + place - 1
        link = Link(epoch=epoch, stamp=stamp, previous=stamp - 1)
        sections = sections_of(some, **{Outbox.RECEIPTS.value: lines(receipts)})
        reader.feed(first + place, encode(link.header(), sections))
    made = reader.cut()
    assert made is not None
    return made


def some_events(number: int, poison: Sequence[int] = (), *, start: int = 0, **fields: str) -> list[Event]:
    """Make events of posts of four, some of them with a subject that the table refuses."""
    return [
        event(
            start + place,
            receipt=f"{(start + place) // 4:032x}",
            received_at=f"2026-{place % 3 + 1:02d}-02T10:00:00.000Z",
            **({"subject": "poison"} if place in poison else {}),
            **fields,
        )
        for place in range(number)
    ]


async def counted(tables: Tables) -> tuple[int, int, int, int]:
    """Count the events in the table, the lifecycles and the statistics, and the dead letters."""
    (row,) = await tables.rows(
        "select (select count() from events) as a, (select sum(events) from lifecycles) as b,"
        " (select sum(queued) from stats_hourly) as c, (select count() from dead_letters) as d",
        output_format_json_quote_64bit_integers=0,
    )
    return row["a"], row["b"], row["c"], row["d"]


async def test_a_refused_row_goes_to_the_dead_letters_alone(connection: ClickHouseConnection, tables: Tables) -> None:
    await tables.do(REFUSE)
    events = some_events(20, poison=[6, 17])
    async with writing(connection) as writer:
        await writer.write(block(events))

    assert await counted(tables) == (18, 18, 18, 2)
    letters = await tables.rows(
        "select receipt, number, source, reason, detail, topic, partition, offset, base64Encode(raw) as raw,"
        " formatDateTime(received_at, '%FT%T.000Z', 'UTC') as received_at"
        " from dead_letters order by offset",
        output_format_json_quote_64bit_integers=0,
    )
    assert [json.loads(base64.b64decode(letter.pop("raw"))) for letter in letters] == [events[6], events[17]]
    assert all("no_poison" in letter.pop("detail") for letter in letters)
    common = {"source": "cmc", "reason": "row_refused", "topic": "mail.inbox", "partition": 0}
    assert letters == [
        {**common, **post(events[6]), "number": 2, "offset": 1},
        {**common, **post(events[17]), "number": 1, "offset": 4},
    ]


def post(of: Event) -> dict[str, str]:
    """Give what a dead letter says of the post that an event came with."""
    return {"receipt": of["receipt"], "received_at": of["received_at"]}


async def test_the_books_balance_around_a_refused_row(connection: ClickHouseConnection, tables: Tables) -> None:
    await tables.do(REFUSE)
    async with writing(connection) as writer:
        await writer.write(block(some_events(8, poison=[6])))

    assert await tables.rows(
        "select `unique`, dead_lettered, refused, balanced from receipts order by receipt",
        output_format_json_quote_64bit_integers=0,
    ) == [
        {"unique": 4, "dead_lettered": 0, "refused": 0, "balanced": True},
        {"unique": 3, "dead_lettered": 1, "refused": 1, "balanced": True},
    ]


@pytest.mark.parametrize("field", ["occurred_at", "received_at"])
async def test_a_row_that_cannot_be_read_is_put_aside(
    connection: ClickHouseConnection, tables: Tables, field: str
) -> None:
    events = some_events(9)
    events[5][field] = "at noon"  # type: ignore[literal-required]  # one of an event's
    async with writing(connection) as writer:
        await writer.write(block(events))

    assert await counted(tables) == (8, 8, 8, 1)


async def test_a_dead_letter_that_is_refused_becomes_another(connection: ClickHouseConnection, tables: Tables) -> None:
    letter = {
        "receipt": "0a",
        "number": 0,
        "part": 0,
        "parts": 1,
        "reason": "x",
        "raw_base64": "?",
        "received_at": "never",
    }
    made = block(some_events(1))
    made.records[0].sections[Outbox.DEAD_LETTERS.value] = lines([letter])  # type: ignore[index]  # it is a dict
    async with writing(connection) as writer:
        await writer.write(made)

    assert await tables.text("select reason, raw from dead_letters") == f"row_refused\t{lines([letter]).decode()}"


@pytest.mark.parametrize(("before", "mended"), [(True, True), (False, True), (True, False)])
async def test_a_writer_killed_anywhere_among_the_pieces_is_repeated_exactly(
    connection: ClickHouseConnection, tables: Tables, *, before: bool, mended: bool
) -> None:
    """Even where ClickHouse takes by then what it refused: what was decided is decided."""
    poison = [1, 5]
    total = kills = 0
    while True:
        await tables.do(REFUSE)
        first = 1 + kills * 100
        made = block(some_events(6, poison, start=kills * 12), first=first)
        try:
            async with writing(connection, inserts=kills, before=before) as writer:
                await writer.write(made)
            finished = True
        except KilledError:
            finished = False
        if mended:
            await tables.do(ALLOW)
        async with writing(connection) as writer:
            await writer.write(made)
        if not mended:
            await tables.do(ALLOW)
        total += 6
        events, lifecycles, hourly, letters = await counted(tables)
        assert (events, lifecycles, hourly) == (total - letters,) * 3, f"after insert {kills}"
        both = "select count() from events where id in (select JSONExtractString(raw, 'id') from dead_letters)"
        assert await tables.number(both) == 0
        assert await tables.number("select countIf(not balanced) from receipts") == 0
        assert await tables.number("select sum(refused) from receipts") == letters
        if finished:
            break
        kills += 1
    assert kills > 10


async def test_what_came_into_the_table_before_is_not_cut(connection: ClickHouseConnection, tables: Tables) -> None:
    """The answer of an insert was lost, and then somebody forbids one of its rows."""
    made = block(some_events(12, poison=[5]))
    with pytest.raises(KilledError):
        async with writing(connection, inserts=0, before=False) as writer:
            await writer.write(made)
    await tables.do(REFUSE)
    async with writing(connection) as writer:
        with pytest.raises(RefusedError, match="came into the table events before"):
            await writer.write(made)
    await tables.do(ALLOW)
    async with writing(connection) as writer:
        await writer.write(made)

    assert await counted(tables) == (12, 12, 12, 0)


async def test_books_that_came_into_the_table_before_are_not_cut(
    connection: ClickHouseConnection, tables: Tables
) -> None:
    """The answer to the receipts was lost, and then somebody forbids one of them: the others must not count twice."""
    made = block(some_events(12))
    with pytest.raises(KilledError):
        async with writing(connection, inserts=1, before=False) as writer:
            await writer.write(made)
    await tables.do(f"alter table receipt_parts add constraint not_two check receipt != '{2:032x}'")
    async with writing(connection) as writer:
        with pytest.raises(RefusedError, match="came into the table receipt_parts before"):
            await writer.write(made)
    await tables.do("alter table receipt_parts drop constraint not_two")
    async with writing(connection) as writer:
        await writer.write(made)

    assert await counted(tables) == (12, 12, 12, 0)
    assert await tables.number("select count() from receipts where not balanced") == 0


async def test_a_view_that_refuses_rows_stops_the_sink_and_nothing_is_skipped(
    connection: ClickHouseConnection, tables: Tables
) -> None:
    await tables.do(
        "create materialized view picky engine = MergeTree order by id as"
        " select id, throwIf(subject = 'poison') as poison from events"
    )
    made = block(some_events(12, poison=[5]))
    async with writing(connection) as writer:
        with pytest.raises(RefusedError, match=r"materialized view.*picky"):
            await writer.write(made)
        await tables.do("drop view picky sync")
        await writer.write(made)

    assert await counted(tables) == (12, 12, 12, 0)


@asynccontextmanager
async def limited(
    clickhouse: EmbeddedClickHouse, connection: ClickHouseConnection, size: int
) -> AsyncIterator[ClickHouseWriter]:
    """Open a writer whose inserts into ``events`` get so many bytes of memory."""

    async def limit(call: Call) -> web.Response:
        return await call.forward(**({"max_memory_usage": str(size)} if call.inserts_into == "events" else {}))

    async with through(clickhouse, connection, limit) as writer:
        yield writer


@asynccontextmanager
async def through(
    clickhouse: EmbeddedClickHouse, connection: ClickHouseConnection, fault: Fault
) -> AsyncIterator[ClickHouseWriter]:
    """Open a writer whose inserts go through a proxy, which sees the rows as they are."""
    async with (
        ClickHouseProxy(target=clickhouse.url, fault=fault).running() as proxy,
        writing(connection.model_copy(update={"port": proxy.port}), compression="none") as writer,
    ):
        yield writer


@pytest.mark.parametrize("setting", ["insert_deduplicate=0", "deduplicate_insert=disable", "async_insert=1"])
async def test_a_profile_of_the_server_takes_no_exactness(
    clickhouse: EmbeddedClickHouse, connection: ClickHouseConnection, tables: Tables, setting: str
) -> None:
    name, value = setting.split("=")

    async def by_profile(call: Call) -> web.Response:
        return await call.forward(**({} if name in call.query else {name: value}))

    made = block(some_events(12))
    async with through(clickhouse, connection, by_profile) as writer:
        await writer.write(made)
        await writer.write(made)
    assert await counted(tables) == (12, 12, 12, 0)


async def test_a_block_that_takes_too_much_memory_is_cut(
    clickhouse: EmbeddedClickHouse, connection: ClickHouseConnection, tables: Tables
) -> None:
    # An insert into three months takes more than 12 MB whatever is in it, and this one 30.
    made = block(some_events(2000, subject="x" * 2000), per_record=1000)
    async with limited(clickhouse, connection, 20_000_000) as writer:
        await writer.write(made)

    assert await counted(tables) == (2000, 2000, 2000, 0)
    assert 0 < await tables.number("select count() from refusals") < 20


async def test_a_block_that_is_too_long_for_a_proxy_is_cut(
    clickhouse: EmbeddedClickHouse, connection: ClickHouseConnection, tables: Tables
) -> None:
    async def limit(call: Call) -> web.Response:
        return await call.forward() if len(call.body) < 100_000 else web.Response(status=413, text="too long")

    async with through(clickhouse, connection, limit) as writer:
        await writer.write(block(some_events(200, subject="x" * 2000)))

    assert await counted(tables) == (200, 200, 200, 0)


async def test_limits_that_take_next_to_nothing_stop_the_sink(
    clickhouse: EmbeddedClickHouse, connection: ClickHouseConnection, tables: Tables
) -> None:
    """Row by row it would go on for hours."""

    async def limit(call: Call) -> web.Response:
        return await call.forward() if len(call.body) < 5000 else web.Response(status=413, text="too long")

    made = block(some_events(200, subject="x" * 2000))
    async with through(clickhouse, connection, limit) as writer:
        with pytest.raises(TooLargeError, match="limits that are too small"):
            await writer.write(made)
    assert await tables.number("select count() from refusals") < 10
    async with writing(connection) as writer:
        await writer.write(made)

    assert await counted(tables) == (200, 200, 200, 0)


async def test_a_single_row_that_takes_too_much_memory_stops_the_sink(
    clickhouse: EmbeddedClickHouse, connection: ClickHouseConnection, tables: Tables
) -> None:
    made = block(some_events(2, subject="x" * 4_000_000))
    async with limited(clickhouse, connection, 3_000_000) as writer:
        with pytest.raises(TooLargeError, match="max_memory_usage"):
            await writer.write(made)
    async with writing(connection) as writer:
        await writer.write(made)

    assert await counted(tables) == (2, 2, 2, 0)


async def test_too_many_refused_rows_in_a_row_stop_the_sink(connection: ClickHouseConnection, tables: Tables) -> None:
    await tables.do(REFUSE)
    made = block(some_events(40, poison=range(10, 30)))
    for _ in range(3):  # as often as it is started again
        async with writing(connection, limits=Limits(run=5, ratio=1.0)) as writer:
            with pytest.raises(BreakerError, match=r"5 rows one after the other.*sink\.clickhouse\.dead_letter_run"):
                await writer.write(made)
    assert (await counted(tables))[3] == 5

    await tables.do(ALLOW)
    async with writing(connection, limits=Limits(run=5, ratio=1.0)) as writer:
        await writer.write(made)
    assert await counted(tables) == (35, 35, 35, 5)


async def test_the_run_goes_on_over_blocks_and_restarts(connection: ClickHouseConnection, tables: Tables) -> None:
    await tables.do(REFUSE)
    limits = Limits(run=3, ratio=1.0)
    for number in range(3):
        async with writing(connection, limits=limits) as writer:
            await writer.write(block(some_events(1, [0], start=number), first=1 + number))

    async with writing(connection, limits=limits) as writer:
        with pytest.raises(BreakerError, match="3 rows one after the other"):
            await writer.write(block(some_events(1, [0], start=3), first=4))


async def test_too_large_a_share_of_refused_rows_stops_the_sink(
    connection: ClickHouseConnection, tables: Tables
) -> None:
    await tables.do(REFUSE)
    async with writing(connection, limits=Limits(run=1000, ratio=0.01)) as writer:
        with pytest.raises(BreakerError, match=r"dead_letter_ratio"):
            await writer.write(block(some_events(60, poison=range(0, 60, 4))))

    assert (await counted(tables))[3] == 10
