"""What a worker is given of a history that is only in ClickHouse any more."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest
import pytest_asyncio

from sinks.clickhouse.history import ClickHouseHistory
from sinks.errors import UnreachableError
from streams.contracts.events import Event
from streams.contracts.sharding import shard
from tests.chunks import make_event
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.running import Place

SHARDS = 5
SINCE = "2026-03-02T00:00:00.000Z"
BEFORE = "2026-02-01T00:00:00.000Z"


async def given(archive: ClickHouseHistory, number: int, shards: int = SHARDS, since: str = SINCE) -> list[Event]:
    return [orjson.loads(line) async for block in archive.history(number, shards, since) for line in block.splitlines()]


@pytest_asyncio.fixture
async def archive(place: Place) -> AsyncIterator[ClickHouseHistory]:
    assert place.clickhouse is not None
    yield ClickHouseHistory(place.clickhouse)


async def store(tables: Tables, events: Sequence[Event]) -> None:
    await tables.client.raw_insert(
        "events",
        insert_block=b"".join(orjson.dumps(event) + b"\n" for event in events),
        fmt="JSONEachRow",
        settings={"date_time_input_format": "best_effort"},
    )


def by_id(events: Sequence[Event]) -> dict[str, Event]:
    assert len({event["id"] for event in events}) == len(events)
    return {event["id"]: event for event in events}


async def test_every_shard_gets_its_own_events_as_they_were(archive: ClickHouseHistory, tables: Tables) -> None:
    kinds = ("queued", "delivered", "bounced", "blocked", "unblocked", "unknown")
    events = [
        make_event(
            message_id="" if number % 7 == 0 else f'届け/{number}\\"@example.com',
            recipient=f"用户{number}@example.jp",
            type=kinds[number % len(kinds)],
            source=("cmc", "another")[number % 2],
            reason="a\nb\x1f\u2028",
            occurred_at=f"2026-03-02T00:00:00.{number:03d}Z",
        )
        for number in range(200)
    ]
    await store(tables, events)
    for number in range(SHARDS):
        own = [
            event
            for event in events
            if shard(event["source"], event["type"], event["message_id"], event["recipient"], SHARDS) == number
        ]
        assert own
        assert by_id(await given(archive, number)) == by_id(own)
        assert await archive.newest(number, SHARDS) == "2026-03-02T00:10:00.000Z"


async def test_all_of_a_lifecycle_that_was_touched_and_nothing_of_the_others(
    archive: ClickHouseHistory, tables: Tables
) -> None:
    old = {"received_at": BEFORE, "occurred_at": BEFORE}
    touched = [make_event(**old), make_event(type="delivered", **old), make_event(type="bounced")]
    blocked = make_event(type="blocked", recipient="gone@example.jp", **old)
    new = make_event(type="unknown", message_id="")
    others = [
        make_event(message_id="other@example.com", **old),
        make_event(recipient="other@example.jp", **old),
        make_event(source="other", **old),
        make_event(type="unknown", message_id="", **old),
    ]
    await store(tables, [*touched, blocked, new, *others])
    assert by_id(await given(archive, 0, shards=1)) == by_id([*touched, blocked, new])


async def test_where_nothing_is_nothing_is_said(archive: ClickHouseHistory) -> None:
    assert await archive.newest(0, 1) is None
    assert await given(archive, 0, shards=1) == []
    assert await archive.answered(0) is None
    assert not await archive.knows_receipts(["0" * 32])


async def test_much_comes_in_blocks_of_whole_lines(archive: ClickHouseHistory, tables: Tables) -> None:
    await tables.do(
        "insert into events (id, source, type, message_id, api_data, received_at)"
        " select lower(hex(MD5(toString(number)))), 'cmc', 'queued', toString(number), repeat('x', 500), now()"
        " from numbers(20000)"
    )
    sizes, count = [], 0
    async for block in archive.history(0, 1, SINCE):
        assert block.endswith(b"\n")
        sizes.append(len(block))
        count += len([orjson.loads(line) for line in block.splitlines()])
    assert count == 20_000
    assert len(sizes) > 5
    assert max(sizes) < 4_000_000


class BreakingOff(ClickHouseHistory):
    """Loses its connection, or its server, in the middle of a stream."""

    async def _stream(self, query: str, parameters: dict[str, Any]) -> AsyncIterator[bytes]:
        async for block in super()._stream(query, parameters):
            yield b"".join(block.splitlines(keepends=True)[:4]) + b"Code: 241. DB::Exception: Memory limit exceeded\n"


async def test_a_history_that_breaks_off_is_not_taken_for_a_whole_one(place: Place, tables: Tables) -> None:
    await store(tables, [make_event(message_id=f"{number}@example.com") for number in range(5)])
    assert place.clickhouse is not None
    with pytest.raises(UnreachableError, match="gave 4 of 5 events"):
        async for _ in BreakingOff(place.clickhouse).history(0, 1, SINCE):
            pass
