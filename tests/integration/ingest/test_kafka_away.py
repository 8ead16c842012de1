"""Ingest while Kafka dies, comes back, or comes back with nothing: on brokers of its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from deploy.embedded.kafka import EmbeddedKafka
from ingest.role import IngestRole
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.errors import PublishError
from streams.contracts.topics import topics
from tests.eventually import eventually
from tests.integration.ingest.inbox import create_inbox, ingest, post, read_inbox

INBOX = topics("own.")
SHORT: dict[str, Any] = {"answer_within": 3.0, "kafka_timeout": 4.0}


@pytest_asyncio.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedKafka]:
    """A broker that may be killed."""
    kafka = EmbeddedKafka(data=tmp_path / "data")
    await kafka.start()
    await create_inbox(kafka.bootstrap_servers, INBOX)
    yield kafka
    await kafka.stop()


@pytest_asyncio.fixture
async def role(broker: EmbeddedKafka) -> AsyncIterator[IngestRole]:
    made = ingest(broker.bootstrap_servers, INBOX, **SHORT)
    await made.start()
    yield made
    await made.stop(Deadline(2, SystemClock()))


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def kill(broker: EmbeddedKafka) -> None:
    broker.kill()
    await broker.wait()


async def until_ready(role: IngestRole, *, ready: bool) -> None:
    async def is_ready() -> bool:
        return role.readiness()[0]

    await eventually(is_ready, lambda answer: answer is ready, within=20)


async def take(http: aiohttp.ClientSession, role: IngestRole) -> Any:
    """Post until it is taken: the first to a new topic may have to wait longer for Kafka than the answer may."""

    async def again() -> tuple[int, Any]:
        return await post(http, role)

    return (await eventually(again, lambda answer: answer[0] == 200))[1]


async def test_a_post_is_refused_while_kafka_is_away_and_taken_when_it_is_back(
    broker: EmbeddedKafka, role: IngestRole, http: aiohttp.ClientSession
) -> None:
    _, first = await post(http, role)
    await kill(broker)
    status, problem = await post(http, role)
    assert (status, problem["type"]) == (503, "urn:todoke:problem:not-durable")
    await until_ready(role, ready=False)
    await broker.start()
    await until_ready(role, ready=True)
    last = await take(http, role)
    await role.until_idle()
    records = await read_inbox(broker.bootstrap_servers, INBOX)
    events = [event for record in records for event in record.lines("events")]
    assert {first["receipt"], last["receipt"]} <= {event["receipt"] for event in events}
    assert len({event["id"] for event in events}) == 1
    notes = [note for record in records for note in record.lines("answered")]
    told = {f"{note['instance']}{sequence:012x}" for note in notes for sequence in note["abandoned"]}
    through = max(note["through"] for note in notes)
    answered = {first["receipt"], last["receipt"]}
    # Of those that came while Kafka was away, only the ones that were under way to it may be stored, and are told of.
    assert 0 < len(told) <= min(4, through - len(answered))
    assert not told & answered


async def test_stopping_does_not_wait_for_a_kafka_that_is_away(
    broker: EmbeddedKafka, role: IngestRole, http: aiohttp.ClientSession
) -> None:
    await take(http, role)
    await kill(broker)
    assert (await post(http, role))[0] == 503
    async with asyncio.timeout(5):
        await role.stop(Deadline(1, SystemClock()))
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(http, role)


async def test_a_broker_that_lost_everything_is_written_to_again(
    broker: EmbeddedKafka, role: IngestRole, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    for _ in range(3):
        await take(http, role)
    port = int(broker.bootstrap_servers.rpartition(":")[2])
    await broker.stop()
    empty = EmbeddedKafka(data=tmp_path / "empty", port=port)
    await empty.start()
    try:
        await create_inbox(empty.bootstrap_servers, INBOX)
        body = await take(http, role)
        receipts = [
            part["receipt"]
            for record in await read_inbox(empty.bootstrap_servers, INBOX)
            for part in record.lines("receipts")
        ]
        assert body["receipt"] in receipts
    finally:
        await empty.stop()


async def test_without_kafka_it_does_not_start() -> None:
    role = ingest("127.0.0.1:1", INBOX)
    with pytest.raises(PublishError, match=r"Kafka at 127\.0\.0\.1:1 cannot be reached"):
        await role.start()
    await role.stop(Deadline(1, SystemClock()))
