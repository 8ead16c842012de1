"""Kafka lost its topics and ClickHouse kept its rows: what counted once before still counts once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import pytest
import pytest_asyncio

from deploy.embedded.clickhouse import EmbeddedClickHouse
from sinks.clickhouse.history import ClickHouseHistory
from sinks.clickhouse.migrations import migrate
from sinks.settings import ClickHouseConnection
from streams.contracts.clock import rfc3339
from streams.contracts.dead_letter import Reason
from streams.contracts.errors import ConfigurationError
from streams.contracts.events import Event
from streams.contracts.sections import Outbox, ReceiptPart
from streams.contracts.topics import Topic
from streams.inbox import InboxRecord
from streams.quarantine import Quarantine
from tests.chunks import RECEIVED, make_chunk, make_event
from tests.eventually import eventually
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.running import Place, drain
from tests.integration.streams.stage import Stage, unique_ids


@dataclass(slots=True)
class Pipeline:
    """Worker, sink and tables."""

    stage: Stage
    place: Place
    tables: Tables
    archive: ClickHouseHistory

    async def work_off(self) -> None:
        await self.stage.work_off(archive=self.archive)
        await drain(self.place.clickhouse_role())

    async def lose(self, *topics: Topic) -> None:
        for topic in topics:
            await self.stage.delete(topic)

            async def made(topic: Topic = topic) -> bool:
                await self.stage.create(topic)
                return True

            await eventually(made)

    async def assert_exact(self, events: list[Event]) -> None:
        """Hold the tables against the events that there are."""
        ids = await self.tables.rows("select id, count() as rows from events group by id")
        assert {row["id"]: int(row["rows"]) for row in ids} == {event["id"]: 1 for event in events}
        wrong = await self.tables.rows("select * from receipts where status != 'balanced'")
        assert wrong == []


@pytest_asyncio.fixture
async def pipeline(stage: Stage, clickhouse: EmbeddedClickHouse, database: str) -> AsyncIterator[Pipeline]:
    connection = ClickHouseConnection(port=clickhouse.port, database=database)
    await migrate(connection)
    place = Place(
        kafka=stage.connection,
        prefix="",
        topics=stage.topics,
        clickhouse=connection,
        settings={"session_timeout": 6, "interval": 0.05},
    )
    async with Tables(connection) as tables:
        yield Pipeline(stage, place, tables, ClickHouseHistory(connection))


def history(receipt: int) -> list[Event]:
    """Three mails on their way, one address that is blocked, one event that nobody knows."""
    told = {"receipt": f"{receipt:032x}", "received_at": rfc3339(datetime.now(UTC))}
    return [
        *(
            make_event(
                message_id=f"{mail}@example.com", type=kind, occurred_at=f"2026-03-02T00:00:0{second}.000Z", **told
            )
            for mail in range(3)
            for second, kind in enumerate(("queued", "deferred", "deferred"))
        ),
        make_event(type="blocked", message_id="", recipient="gone@example.jp", reason="hard bounce", **told),
        make_event(type="unknown", provider_status="opened", message_id="", **told),
    ]


def again(events: list[Event], receipt: int) -> list[Event]:
    return [Event(**{**event, "receipt": f"{receipt:032x}"}) for event in events]


async def test_a_resend_after_the_topics_were_lost_counts_once(pipeline: Pipeline) -> None:
    stage, events = pipeline.stage, history(1)
    await stage.put([make_chunk(events[:6]), make_chunk(again(events[6:], 9))])
    await pipeline.work_off()
    await pipeline.lose(stage.topics.inbox, stage.topics.outbox)
    late = make_event(
        message_id="1@example.com", type="delivered", occurred_at="2026-03-02T00:00:09.000Z", receipt=f"{2:032x}"
    )
    await stage.put([make_chunk([*again(events, 2), late])])
    await pipeline.work_off()

    await pipeline.assert_exact([*events, late])
    told = await stage.told()
    assert unique_ids(told) == {late["id"]: 1}
    [row] = [row for row in told.rows(Outbox.LIFECYCLES) if row["events"] == 4]
    assert (row["message_id"], row["state"], row["deferrals"]) == ("1@example.com", "delivered", 2)
    [seen] = await pipeline.tables.rows("select state, events from lifecycles where message_id = '1@example.com'")
    assert (seen["state"], int(seen["events"])) == ("delivered", 4)
    assert {row["recipient"] for row in told.rows(Outbox.SUPPRESSIONS)} == {"gone@example.jp"}


async def test_where_only_the_outbox_was_lost_the_inbox_is_not_answered_again(pipeline: Pipeline) -> None:
    stage, events = pipeline.stage, history(1)
    await stage.put([make_chunk(events[:6]), make_chunk(again(events[6:], 9))])
    await pipeline.work_off()
    undelivered = make_event(message_id="later@example.com", receipt=f"{2:032x}")
    await stage.put([make_chunk([undelivered])])
    await pipeline.lose(stage.topics.outbox)
    await stage.put([make_chunk(again(events, 3))])
    await pipeline.work_off()

    await pipeline.assert_exact([*events, undelivered])
    told = await stage.told()
    assert [record.header["stamp"] for record in told.records if not record.header.get("restoring")] == [1, 2, 3]
    # Started once more, the worker does not take the inbox for another one.
    await pipeline.work_off()
    assert (await stage.told()).chain.stamp == 3


async def test_an_inbox_whose_end_tells_no_receipt_is_not_answered_again(pipeline: Pipeline) -> None:
    """A shard may have got nothing for hours but notes of which posts were answered."""
    stage, events = pipeline.stage, history(1)
    note = orjson.dumps({"instance": "0" * 20, "through": 1, "abandoned": []}) + b"\n"
    await stage.put([make_chunk(events), *[make_chunk(answered=note)] * 50])
    await pipeline.work_off()
    await pipeline.lose(stage.topics.outbox)
    await pipeline.work_off()

    await pipeline.assert_exact(events)


async def test_dead_letters_alone_are_not_answered_again_either(pipeline: Pipeline) -> None:
    stage = pipeline.stage
    post = ReceiptPart(
        receipt=f"{1:032x}", source="cmc", received_at=RECEIVED, accepted=1, events=0, dead_letters=1, part=0
    )
    place = InboxRecord(topic="", shard=-1, offset=-1, at=RECEIVED, value=b"")
    letter = Quarantine(place, "1.0").letter(b"no event", Reason.BODY_UNREADABLE, "not JSON")
    await stage.put([make_chunk(dead_letters=letter, receipts=[post])])
    await pipeline.work_off()
    await pipeline.lose(stage.topics.outbox)
    await pipeline.work_off()

    await pipeline.assert_exact([])
    assert await pipeline.tables.number("select count() from dead_letters") == 1
    assert (await stage.told()).chain.stamp == 0


async def test_what_retention_took_while_no_worker_was_there_is_told(pipeline: Pipeline) -> None:
    """Away for longer than the outbox is kept: it is empty, and the inbox has lost what nobody answered."""
    stage, events = pipeline.stage, history(1)
    await stage.put([make_chunk(events)])
    await pipeline.work_off()
    lost = make_event(message_id="lost@example.com", receipt=f"{5:032x}")
    last = await stage.put([make_chunk([lost])] * 3)
    await stage.cut(stage.topics.outbox)
    await stage.cut(stage.topics.inbox)
    late = make_event(message_id="late@example.com", receipt=f"{6:032x}")
    await stage.put([make_chunk(again(events, 2)), make_chunk([late])])
    await pipeline.work_off()

    await pipeline.assert_exact([*events, late])
    assert [(loss["first"], loss["last"]) for loss in (await stage.told()).rows(Outbox.LOSSES)] == [(1, last)]
    assert await pipeline.tables.rows("select first, last from losses where topic = 'inbox'") == [
        {"first": 1, "last": last}
    ]


class Dying(ClickHouseHistory):
    """Breaks off after some events, once something has happened, as a worker does that is killed."""

    def __init__(self, connection: ClickHouseConnection, events: int, when: Callable[[], Awaitable[object]]) -> None:
        super().__init__(connection)
        self._left = events
        self._when = when

    async def history(self, shard: int, shards: int, since: str) -> AsyncIterator[bytes]:
        async for block in super().history(shard, shards, since):
            for line in block.splitlines(keepends=True):
                if not self._left:
                    await self._when()
                    raise ConnectionAbortedSomewhereError
                self._left -= 1
                yield line


class ConnectionAbortedSomewhereError(Exception):
    """Nothing that a worker tries again."""


async def test_a_worker_that_dies_while_it_restores_leaves_nothing_half_known(pipeline: Pipeline) -> None:
    stage, events = pipeline.stage, history(1)
    await stage.put([make_chunk(events)])
    await pipeline.work_off()
    await pipeline.lose(stage.topics.inbox, stage.topics.outbox)
    await stage.put([make_chunk(again(events, 2))])
    connection = pipeline.place.clickhouse
    assert connection is not None
    # The founding, and of each try what the ones before had not written.
    for left, written in ((0, 1), (1, 1 + 1), (4, 1 + 1 + 3)):

        async def when(written: int = written) -> object:
            return await eventually(lambda: stage.extent(stage.topics.outbox), lambda end: end == written)

        async with stage.running(archive=Dying(connection, left, when)) as worker:
            with pytest.raises(ConnectionAbortedSomewhereError):
                await asyncio.wait_for(worker.wait(), 30)
    told = await stage.told()
    assert told.chain.stamp == -1
    async with stage.running() as worker:
        with pytest.raises(ConfigurationError, match="shard 0 is half restored"):
            await asyncio.wait_for(worker.wait(), 30)

    await pipeline.work_off()

    await pipeline.assert_exact(events)
    assert unique_ids(await stage.told()) == {}


async def test_workers_that_restore_at_the_same_time_do_no_harm(pipeline: Pipeline) -> None:
    stage, events = pipeline.stage, history(1)
    await stage.put([make_chunk(events)])
    await pipeline.work_off()
    await pipeline.lose(stage.topics.inbox, stage.topics.outbox)
    await stage.put([make_chunk(again(events, 2))])
    other = Stage(bootstrap_servers=stage.bootstrap_servers, shards=stage.shards, topics=stage.topics)
    async with stage.running(archive=pipeline.archive) as one, other.running(archive=pipeline.archive) as two:
        await one.until_idle()
        await two.until_idle()
    await pipeline.work_off()

    await pipeline.assert_exact(events)
    assert unique_ids(await stage.told()) == {}
