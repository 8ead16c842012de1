"""Ingest with a real server and a real Kafka that stays."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
import pytest_asyncio

from deploy.embedded.kafka import EmbeddedKafka
from ingest.role import IngestRole
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.codec import COMPRESSED_FORM
from streams.contracts.errors import ConfigurationError
from streams.contracts.sharding import shard
from streams.contracts.topics import CHUNK_LIMIT, Topics, topics
from tests.integration.ingest.inbox import PAYLOADS, SHARDS, create_inbox, ingest, post, read_inbox
from tests.traffic.mails import traffic
from tests.traffic.sender import send

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def inbox(kafka: EmbeddedKafka, topic_prefix: str) -> Topics:
    made = topics(topic_prefix)
    await create_inbox(kafka.bootstrap_servers, made)
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def role(kafka: EmbeddedKafka, inbox: Topics) -> AsyncIterator[IngestRole]:
    made = ingest(kafka.bootstrap_servers, inbox)
    await made.start()
    yield made
    await made.stop(Deadline(10, SystemClock()))


async def test_recorded_payloads_stand_in_their_shards(role: IngestRole, kafka: EmbeddedKafka, inbox: Topics) -> None:
    payloads = sorted(path for path in PAYLOADS.glob("*.json") if path.with_suffix(".events.json").exists())
    expected = {}
    async with aiohttp.ClientSession() as http:
        for path in payloads:
            status, body = await post(http, role, path.read_bytes())
            events = orjson.loads(path.with_suffix(".events.json").read_bytes())
            assert (status, body["accepted"]) == (200, len(events))
            expected[body["receipt"]] = events
    await role.until_idle()
    records = await read_inbox(kafka.bootstrap_servers, inbox)
    found: dict[str, list[dict[str, str]]] = {}
    for record in records:
        assert record.headers == (("form", b"record/%d" % record.record.header["form"]),)
        for event in record.lines("events"):
            at = shard("cmc", event["type"], event["message_id"], event["recipient"], SHARDS)
            assert record.shard == at
            del event["received_at"]
            found.setdefault(event.pop("receipt"), []).append(event)
    assert found == expected
    parts = [part for record in records for part in record.lines("receipts")]
    assert {part["receipt"]: part["accepted"] for part in parts} == {
        receipt: len(events) for receipt, events in expected.items()
    }
    notes = [note for record in records for note in record.lines("answered")]
    assert max(note["through"] for note in notes) == len(payloads)
    assert [sequence for note in notes for sequence in note["abandoned"]] == []


async def test_a_flood_makes_large_chunks_and_loses_nothing(
    role: IngestRole, kafka: EmbeddedKafka, inbox: Topics
) -> None:
    made = traffic(20_000, batch=20)
    answers = await send(made.posts, f"{role.url}/v1/webhooks/cmc", connections=100)
    assert answers.accepted_events == made.unique
    records = [record for record in await read_inbox(kafka.bootstrap_servers, inbox) if record.record.section("events")]
    ids = {event["id"] for record in records for event in record.lines("events")}
    assert len(ids) == made.unique
    assert COMPRESSED_FORM in {record.record.header["form"] for record in records}
    assert made.unique / len(records) > 100  # with a chunk for each post in each shard it would be 5


async def test_a_post_larger_than_a_chunk(role: IngestRole, kafka: EmbeddedKafka, inbox: Topics) -> None:
    records = [
        {"created": "2023-01-25 14:03:06", "status": "queued", "messageId": "<1@x>", "to": "a@x", "reason": "r" * 500}
        for _ in range(5000)
    ]
    body = orjson.dumps({"event_type": "deliveries", "event": {"deliveries": records}})
    async with aiohttp.ClientSession() as http:
        assert (await post(http, role, body))[1]["accepted"] == 5000
    stored = [record for record in await read_inbox(kafka.bootstrap_servers, inbox) if record.record.section("events")]
    assert len(stored) > 5000 * 1000 / CHUNK_LIMIT
    assert len({event["id"] for record in stored for event in record.lines("events")}) == 5000
    assert {part["accepted"] for record in stored for part in record.lines("receipts")} == {5000}


async def test_posts_at_once_get_receipts_of_their_own(role: IngestRole) -> None:
    async with aiohttp.ClientSession() as http:
        answers = await asyncio.gather(*(post(http, role) for _ in range(50)))
    assert len({body["receipt"] for _, body in answers}) == 50


async def test_a_missing_inbox_is_told(kafka: EmbeddedKafka) -> None:
    role = ingest(kafka.bootstrap_servers, topics("missing."))
    with pytest.raises(ConfigurationError, match=r"no topic missing\.inbox: run `todoke topics`"):
        await role.start()
    await role.stop(Deadline(1, SystemClock()))
