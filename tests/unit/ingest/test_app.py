"""The HTTP endpoints with a real server and real sockets, and a log in memory."""

import asyncio
import gzip
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
import pytest
import pytest_asyncio
from backports import zstd
from yarl import URL

from ingest.openapi import document
from ingest.publisher import MemoryPublisher
from ingest.role import IngestRole
from ingest.settings import IngestSettings, SourceSettings, default_sources
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.codec import decode
from streams.contracts.errors import ConfigurationError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.receipts import receipt
from streams.contracts.topics import topics
from tests.eventually import eventually

PAYLOAD = Path(__file__).parents[2] / "payloads" / "customers-mail-cloud" / "deliveries-queued.json"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
QUICK = {"port": 0, "tell_answered_every": 0.02, "probe_every": 0.02}

Start = Callable[..., Awaitable[IngestRole]]


class Log:
    """Everything that was stored, as lines by section."""

    def __init__(self, publisher: MemoryPublisher) -> None:
        self._publisher = publisher

    def lines(self, section: str) -> list[dict[str, Any]]:
        records = [decode(value) for values in self._publisher.stored.values() for value in values]
        return [orjson.loads(line) for record in records for line in record.section(section).splitlines()]

    async def eventually(self, section: str, holds: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        async def ask() -> list[dict[str, Any]]:
            return self.lines(section)

        return await eventually(ask, holds, within=10)


@pytest.fixture
def log(publisher: MemoryPublisher) -> Log:
    return Log(publisher)


@pytest_asyncio.fixture
async def start(publisher: MemoryPublisher) -> AsyncIterator[Start]:
    """Starts roles and stops them at the end, also those that could not start."""
    started: list[IngestRole] = []

    async def begin(sources: dict[str, SourceSettings] | None = None, **settings: object) -> IngestRole:
        role = IngestRole(
            settings=IngestSettings.model_validate({**QUICK, **settings}),
            sources=sources or default_sources(),
            kafka=KafkaConnection(),
            topics=topics(),
            publisher=publisher,
        )
        started.append(role)
        await role.start()
        return role

    yield begin
    publisher.release()
    for role in started:
        await role.stop(Deadline(5, SystemClock()))


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def answer(request: Any) -> tuple[int, dict[str, Any]]:
    async with request as response:
        return response.status, await response.json(content_type=None)


async def refused(request: Any, status: int, name: str) -> aiohttp.ClientResponse:
    async with request as response:
        body = await response.json(content_type="application/problem+json")
        assert (response.status, body["type"]) == (status, f"urn:todoke:problem:{name}")
        assert (body["status"], bool(body["detail"])) == (status, True)
        assert ("Retry-After" in response.headers) == (status == 503)
        assert isinstance(response, aiohttp.ClientResponse)
        return response


def source(**values: object) -> dict[str, SourceSettings]:
    return {"cmc": SourceSettings.model_validate(values)}


async def test_a_post_is_answered_when_it_is_durable(start: Start, http: aiohttp.ClientSession, log: Log) -> None:
    role = await start()
    url = f"{role.url}/v1/webhooks/cmc"
    status, body = await answer(http.post(url, data=PAYLOAD.read_bytes(), headers=JSON))
    assert (status, body) == (200, {"result": "ok", "receipt": body["receipt"], "accepted": 1})
    (event,) = log.lines("events")
    (part,) = log.lines("receipts")
    assert event["receipt"] == part["receipt"] == body["receipt"]
    assert (part["accepted"], part["events"], part["dead_letters"]) == (1, 1, 0)
    assert part["source"] == event["source"] == "cmc"


async def test_no_post_is_answered_before(
    start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher
) -> None:
    role = await start()
    publisher.hold()
    post = asyncio.ensure_future(answer(http.post(f"{role.url}/v1/webhooks/cmc", data=PAYLOAD.read_bytes())))

    async def begun() -> int:
        return publisher.begun

    await eventually(begun, within=5)
    assert not post.done()
    publisher.release()
    assert (await post)[0] == 200


async def test_a_post_that_takes_too_long_is_abandoned_for_good(
    start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher, log: Log
) -> None:
    role = await start(source(batching={"interval": 0.01}), answer_within=0.05)
    url = f"{role.url}/v1/webhooks/cmc"
    publisher.hold()
    await refused(http.post(url, data=PAYLOAD.read_bytes()), 503, "not-durable")
    assert role.readiness()[1]["in_flight_bytes"] > 0
    publisher.release()
    _, body = await answer(http.post(url, data=PAYLOAD.read_bytes()))
    instance = body["receipt"][:20]
    assert body["receipt"] == receipt(instance, 2)
    # Its chunk was under way already and is stored; the note says all the same that nobody was told so.
    notes = await log.eventually("answered", lambda notes: bool(notes) and notes[-1]["through"] == 2)
    assert notes[-1]["instance"] == instance
    assert [sequence for note in notes for sequence in note["abandoned"]] == [1]
    assert role.readiness()[1]["in_flight_bytes"] == 0


async def test_of_a_long_outage_only_what_was_under_way_is_remembered(
    start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher, log: Log
) -> None:
    role = await start(source(batching={"interval": 0}), answer_within=0.05, max_chunks_in_flight=2)
    url = f"{role.url}/v1/webhooks/cmc"
    publisher.hold()
    for _ in range(8):
        await refused(http.post(url, data=PAYLOAD.read_bytes()), 503, "not-durable")
    publisher.release()
    assert (await answer(http.post(url, data=PAYLOAD.read_bytes())))[0] == 200
    notes = await log.eventually("answered", lambda notes: bool(notes) and notes[-1]["through"] == 9)
    # Nobody will ever ask for a post of which nothing is in the log.
    assert [sequence for note in notes for sequence in note["abandoned"]] == [1, 2]
    assert {int(part["receipt"][20:], 16) for part in log.lines("receipts")} == {1, 2, 9}


async def test_a_refusing_log_makes_503(start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher) -> None:
    role = await start()
    publisher.refuses = True
    await refused(http.post(f"{role.url}/v1/webhooks/cmc", data=PAYLOAD.read_bytes()), 503, "not-durable")
    publisher.refuses = False
    assert (await answer(http.post(f"{role.url}/v1/webhooks/cmc", data=PAYLOAD.read_bytes())))[0] == 200


@pytest.mark.parametrize(
    "malformed",
    [
        (b'{"event_type":', JSON, "body_unreadable"),
        (b"\xff\xfe", JSON, "body_unreadable"),
        (b"[" * 200_000, JSON, "body_unreadable"),
        (b"not compressed", {**JSON, "Content-Encoding": "gzip"}, "body_unreadable"),
        (b"hello", FORM, "body_shape"),
        (b'{"event_type":"opens"}', JSON, "body_shape"),
    ],
)
async def test_a_malformed_body_is_kept_and_answered_200(
    start: Start, http: aiohttp.ClientSession, log: Log, malformed: tuple[bytes, dict[str, str], str]
) -> None:
    raw, headers, reason = malformed
    role = await start()
    status, body = await answer(http.post(f"{role.url}/v1/webhooks/cmc", data=raw, headers=headers))
    assert (status, body["accepted"]) == (200, 1)
    (letter,) = log.lines("dead_letters")
    assert (letter["reason"], letter["receipt"], letter["source"]) == (reason, body["receipt"], "cmc")
    assert b64decode(letter["raw_base64"]) == raw
    assert log.lines("events") == []
    async with http.get(f"{role.url}/metrics") as response:
        assert f'todoke_ingest_dead_letters_total{{reason="{reason}",source="cmc"}} 1.0' in await response.text()


async def test_a_source_may_want_to_be_told(start: Start, http: aiohttp.ClientSession, log: Log) -> None:
    role = await start(source(malformed="reject"))
    url = f"{role.url}/v1/webhooks/cmc"
    await refused(http.post(url, data=b"{", headers=JSON), 400, "malformed-body")
    await refused(http.post(url, data=b"{}", headers=JSON), 400, "malformed-body")
    assert log.lines("dead_letters") == []
    assert role.readiness()[1]["in_flight_bytes"] == 0


async def test_what_is_no_http_does_not_put_its_secret_into_the_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    role = await start()
    url = URL(role.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"POST /v1/webhooks/cmc HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer the-secret\x01\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert "the-secret" not in caplog.text


async def test_nothing_is_nothing(start: Start, http: aiohttp.ClientSession, log: Log) -> None:
    role = await start()
    for raw in (b"", b" \r\n", b'{"event_type":"bounces","event":{"bounces":[]}}'):
        status, body = await answer(http.post(f"{role.url}/v1/webhooks/cmc", data=raw, headers=JSON))
        assert (status, body["accepted"]) == (200, 0)
    assert log.lines("receipts") == []
    await log.eventually("answered", lambda notes: bool(notes) and notes[-1]["through"] == 3)


async def test_unknown_sources_paths_and_methods(start: Start, http: aiohttp.ClientSession) -> None:
    role = await start()
    await refused(http.post(f"{role.url}/v1/webhooks/other"), 404, "unknown-source")
    await refused(http.post(f"{role.url}/v1/events?source=other"), 404, "unknown-source")
    await refused(http.post(f"{role.url}/nowhere"), 404, "not-found")
    response = await refused(http.get(f"{role.url}/v1/events"), 405, "method-not-allowed")
    assert response.headers["Allow"] == "POST"


async def test_too_large_bodies(start: Start, http: aiohttp.ClientSession, log: Log) -> None:
    role = await start(source(max_body_bytes=2000))
    url = f"{role.url}/v1/webhooks/cmc"
    long = b" " * 2001
    for encoding, raw in (("identity", long), ("gzip", gzip.compress(long)), ("zstd", zstd.compress(long))):
        await refused(http.post(url, data=raw, headers={"Content-Encoding": encoding}), 413, "body-too-large")
    bomb = gzip.compress(bytes(50_000_000))[:2000]
    await refused(http.post(url, data=bomb, headers={"Content-Encoding": "gzip"}), 413, "body-too-large")
    await refused(http.post(url, data=_chunked(b"x" * 500, 5)), 413, "body-too-large")
    assert role.readiness()[1]["in_flight_bytes"] == 0
    assert (await answer(http.post(url, data=_chunked(b" " * 500, 4))))[0] == 200
    assert log.lines("dead_letters") == []


async def _chunked(part: bytes, times: int) -> AsyncIterator[bytes]:
    for _ in range(times):
        yield part


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
async def test_compressed_bodies(
    start: Start, http: aiohttp.ClientSession, encoding: str, compress: Callable[[bytes], bytes], log: Log
) -> None:
    role = await start()
    raw = compress(PAYLOAD.read_bytes())
    headers = {**JSON, "Content-Encoding": encoding}
    assert (await answer(http.post(f"{role.url}/v1/webhooks/cmc", data=raw, headers=headers)))[1]["accepted"] == 1
    assert len(log.lines("events")) == 1


async def test_compression_that_nobody_knows(start: Start, http: aiohttp.ClientSession) -> None:
    role = await start()
    headers = {"Content-Encoding": "br"}
    response = await refused(
        http.post(f"{role.url}/v1/webhooks/cmc", data=b"x", headers=headers), 415, "unknown-encoding"
    )
    assert "zstd" in response.headers["Accept-Encoding"]


async def test_no_more_is_taken_than_there_is_memory_for(
    start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher
) -> None:
    role = await start(source(max_body_bytes=2**20 - 10_000), max_bytes_in_flight=2**20)
    publisher.hold()
    large = {"type": "queued", "occurred_at": "2023-01-25T05:03:06Z", "recipient": "a@x", "reason": "r" * 100_000}
    padded = orjson.dumps([large] * 10)
    url = f"{role.url}/v1/events"
    first = asyncio.ensure_future(answer(http.post(url, data=padded, headers=JSON)))

    async def spent() -> bool:
        return not role.readiness()[0]

    await eventually(spent, within=5)
    await refused(http.post(url, data=padded, headers=JSON), 503, "overloaded")
    async with http.get(f"{role.url}/readyz") as response:
        assert response.status == 503
    publisher.release()
    assert (await first)[0] == 200
    assert (await answer(http.post(url, data=padded, headers=JSON)))[0] == 200


async def test_what_is_only_announced_takes_nothing_from_others(start: Start, http: aiohttp.ClientSession) -> None:
    role = await start(source(max_body_bytes=2**20 - 10_000), max_bytes_in_flight=2**20)
    announcing = []
    for _ in range(10):
        _, writer = await asyncio.open_connection("127.0.0.1", role.port)
        writer.write(b"POST /v1/webhooks/cmc HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        announcing.append(writer)

    async def in_flight() -> int:
        return int(role.readiness()[1]["in_flight_posts"])

    await eventually(in_flight, lambda posts: posts == 10, within=5)
    assert (await answer(http.post(f"{role.url}/v1/webhooks/cmc", data=PAYLOAD.read_bytes(), headers=JSON)))[0] == 200
    for writer in announcing:
        writer.close()


async def test_more_events_than_a_post_may_have(start: Start, http: aiohttp.ClientSession, log: Log) -> None:
    role = await start(source(max_body_events=2))
    event = {"type": "queued", "occurred_at": "2023-01-25T05:03:06Z", "recipient": "a@x"}
    lines = {"Content-Type": "application/x-ndjson"}
    for headers, raw in ((JSON, orjson.dumps([event] * 3)), (lines, b"\n".join([orjson.dumps(event)] * 3))):
        await refused(http.post(f"{role.url}/v1/events", data=raw, headers=headers), 413, "body-too-large")
    deliveries = {"event_type": "deliveries", "event": {"deliveries": [{}] * 3}}
    url = f"{role.url}/v1/webhooks/cmc"
    await refused(http.post(url, data=orjson.dumps(deliveries), headers=JSON), 413, "body-too-large")
    assert log.lines("receipts") == []
    assert role.readiness()[1]["in_flight_bytes"] == 0


@pytest.fixture
def journaled(tmp_path: Path) -> dict[str, Any]:
    """Settings of ingest with a journal."""
    return {"journal": str(tmp_path / "journal")}


JOURNALED = {"durability": "journal", "batching": {"interval": 0.01}}


async def test_with_a_journal_a_post_is_answered_while_kafka_takes_nothing(
    start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher, log: Log, journaled: dict[str, Any]
) -> None:
    role = await start(source(**JOURNALED), **journaled)
    url = f"{role.url}/v1/webhooks/cmc"
    publisher.hold()
    answers = await asyncio.gather(*(answer(http.post(url, data=PAYLOAD.read_bytes())) for _ in range(20)))
    assert {status for status, _ in answers} == {200}
    assert log.lines("receipts") == []

    async def metrics() -> str:
        async with http.get(f"{role.url}/metrics") as response:
            return await response.text()

    said = await metrics()
    assert "todoke_ingest_journal_posts 20.0" in said
    assert "todoke_ingest_journal_limit_bytes 1.073741824e+09" in said
    async with http.get(f"{role.url}/readyz") as response:
        assert response.status == 200
        assert (await response.json())["journal_bytes"] > 0
    publisher.release()
    parts = await log.eventually("receipts", lambda parts: len(parts) == 20)
    assert {part["receipt"] for part in parts} == {body["receipt"] for _, body in answers}
    assert len(log.lines("events")) == 20
    notes = await log.eventually("answered", lambda notes: bool(notes) and notes[-1]["through"] == 20)
    assert [sequence for note in notes for sequence in note["abandoned"]] == []
    assert "todoke_ingest_journal_bytes 0.0" in await metrics()


async def test_nobody_is_told_of_a_post_before_all_of_it_is_in_kafka(
    start: Start, http: aiohttp.ClientSession, log: Log, journaled: dict[str, Any]
) -> None:
    patient = {"durability": "journal", "batching": {"interval": 600, "max_events": 2}}
    role = await start(source(**patient), **journaled)
    event = {"type": "queued", "occurred_at": "2023-01-25T05:03:06Z", "recipient": "a@x"}
    url = f"{role.url}/v1/events"
    for number in range(3):
        body = orjson.dumps([event, {**event, "recipient": f"{number}@y"}])
        assert (await answer(http.post(url, data=body, headers=JSON)))[1]["accepted"] == 2
    parts = await log.eventually("receipts", bool)
    assert len(parts) < 6  # what does not fill a chunk waits for its interval
    assert all(note["through"] < 3 for note in log.lines("answered"))
    await role.until_idle()
    assert sum(part["events"] for part in log.lines("receipts")) == 6
    assert log.lines("answered")[-1]["through"] == 3


async def test_a_journal_has_a_limit_and_recovers(
    start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher, log: Log, journaled: dict[str, Any]
) -> None:
    role = await start(source(**JOURNALED), **journaled, journal_max_bytes=2**20)
    event = {"type": "queued", "occurred_at": "2023-01-25T05:03:06Z", "recipient": "a@x", "reason": "r" * 100_000}
    url = f"{role.url}/v1/events"
    publisher.hold()

    async def fill() -> tuple[int, dict[str, Any]]:
        return await answer(http.post(url, data=orjson.dumps([event]), headers=JSON))

    accepted = 0
    while (found := await fill())[0] == 200:
        accepted += 1
    assert (found[0], found[1]["type"]) == (503, "urn:todoke:problem:journal-full")
    assert 7 <= accepted <= 2**20 / 100_000
    assert not role.readiness()[0]
    await refused(http.post(url, data=orjson.dumps([event]), headers=JSON), 503, "journal-full")
    publisher.release()
    await eventually(fill, lambda found: found[0] == 200, within=10)
    assert len(await log.eventually("events", lambda events: len(events) == accepted + 1)) == accepted + 1


async def test_a_journal_that_fills_is_told(
    start: Start,
    http: aiohttp.ClientSession,
    publisher: MemoryPublisher,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    role = await start(source(**JOURNALED), journal=str(tmp_path), journal_max_bytes=2**20)
    event = {"type": "queued", "occurred_at": "2023-01-25T05:03:06Z", "recipient": "a@x", "reason": "r" * 300_000}
    publisher.hold()
    seen = []
    for _ in range(4):
        await answer(http.post(f"{role.url}/v1/events", data=orjson.dumps([event]), headers=JSON))
        seen.append(("more than half full" in caplog.text, "is full: posts are refused" in caplog.text))
    assert seen == [(False, False), (True, False), (True, False), (True, True)]


async def test_a_chunk_that_kafka_refuses_stays_in_the_journal_and_is_told(
    start: Start,
    http: aiohttp.ClientSession,
    publisher: MemoryPublisher,
    journaled: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    role = await start(source(**JOURNALED), **journaled)
    publisher.refuses = True
    assert (await answer(http.post(f"{role.url}/v1/webhooks/cmc", data=PAYLOAD.read_bytes())))[0] == 200

    async def said() -> str:
        return caplog.text

    await eventually(said, lambda text: "told to refuse: it stays in the journal" in text, within=10)
    publisher.refuses = False
    await Log(publisher).eventually("receipts", lambda parts: len(parts) == 1)


async def test_a_journal_that_cannot_be_sent_on_does_not_hold_up_the_end(
    start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher, journaled: dict[str, Any]
) -> None:
    role = await start(source(**JOURNALED), **journaled)
    publisher.hold()
    events = [
        {"type": "queued", "occurred_at": "2023-01-25T05:03:06Z", "recipient": f"{number}@x"} for number in range(30)
    ]
    assert (await answer(http.post(f"{role.url}/v1/events", data=orjson.dumps(events), headers=JSON)))[0] == 200

    async def kafka_is() -> Any:
        return role.readiness()[1]["kafka"]

    await eventually(kafka_is, lambda said: said == "away", within=5)
    await role.stop(Deadline(5, SystemClock()))
    other = IngestRole(
        settings=IngestSettings.model_validate({**QUICK, **journaled}),
        sources=source(**JOURNALED),
        kafka=KafkaConnection(),
        topics=topics(),
        publisher=MemoryPublisher(shards=1),
    )
    with pytest.raises(ConfigurationError, match="the inbox has 1 partitions, and the journal"):
        await other.start()
    async with asyncio.timeout(10):
        await other.stop(Deadline(60, SystemClock()))


async def test_stopping_leaves_in_the_journal_what_kafka_does_not_take(
    start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher, log: Log, journaled: dict[str, Any]
) -> None:
    role = await start(source(**JOURNALED), **journaled)
    publisher.hold()
    status, body = await answer(http.post(f"{role.url}/v1/webhooks/cmc", data=PAYLOAD.read_bytes()))
    assert status == 200

    async def ready() -> Any:
        return role.readiness()[1]["kafka"]

    await eventually(ready, lambda said: said == "away", within=5)
    await role.stop(Deadline(5, SystemClock()))
    assert log.lines("receipts") == []
    other = IngestRole(
        settings=IngestSettings.model_validate({**QUICK, **journaled}),
        sources=default_sources(),  # of which none wishes for the journal any more
        kafka=KafkaConnection(),
        topics=topics(),
        publisher=(fresh := MemoryPublisher()),
    )
    await other.start()
    await other.until_idle()
    await other.stop(Deadline(5, SystemClock()))
    (part,) = Log(fresh).lines("receipts")
    assert part["receipt"] == body["receipt"]
    notes = {note["instance"]: note["through"] for note in Log(fresh).lines("answered")}
    assert notes == {body["receipt"][:20]: 1}


async def test_stopping_drains_the_journal(
    start: Start, http: aiohttp.ClientSession, log: Log, journaled: dict[str, Any]
) -> None:
    role = await start(source(durability="journal", batching={"interval": 600}), **journaled)
    _, body = await answer(http.post(f"{role.url}/v1/webhooks/cmc", data=PAYLOAD.read_bytes()))
    assert log.lines("receipts") == []
    await role.stop(Deadline(5, SystemClock()))
    assert [part["receipt"] for part in log.lines("receipts")] == [body["receipt"]]


async def test_a_disk_that_fails_makes_503(
    start: Start, http: aiohttp.ClientSession, journaled: dict[str, Any]
) -> None:
    role = await start(source(**JOURNALED), **journaled)
    url = f"{role.url}/v1/webhooks/cmc"
    journal = role._intake._journal
    assert journal is not None
    journal._opened()._reserve = 2**62
    await refused(http.post(url, data=PAYLOAD.read_bytes()), 503, "not-durable")
    assert role.readiness()[1]["journal_bytes"] == 0
    journal._opened()._reserve = 0
    assert (await answer(http.post(url, data=PAYLOAD.read_bytes())))[0] == 200


async def test_two_processes_with_one_journal_are_told(start: Start, journaled: dict[str, Any]) -> None:
    await start(source(**JOURNALED), **journaled)
    with pytest.raises(ConfigurationError, match="in use by another process"):
        await start(source(**JOURNALED), **journaled)


async def test_basic_and_bearer(start: Start, http: aiohttp.ClientSession) -> None:
    role = await start(source(basic=["user:old", "user:new"], bearer_tokens=["token"]))
    url = f"{role.url}/v1/webhooks/cmc"
    for given in ("Basic " + b64encode(b"user:new").decode(), "Bearer token"):
        assert (await answer(http.post(url, data=PAYLOAD.read_bytes(), headers={"Authorization": given})))[0] == 200
    for wrong in ({}, {"Authorization": "Bearer other"}):
        response = await refused(http.post(url, data=b"{}", headers=wrong), 401, "wrong-secret")
        assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
    async with http.get(f"{role.url}/metrics") as response:
        assert 'todoke_ingest_refusals_total{problem="wrong-secret",source="cmc"} 2.0' in await response.text()


@pytest.mark.parametrize("headers", [JSON, FORM])
async def test_the_key_in_the_body(
    start: Start, http: aiohttp.ClientSession, headers: dict[str, str], publisher: MemoryPublisher, log: Log
) -> None:
    role = await start(source(api_keys=["old", "s3cret"]))
    url = f"{role.url}/v1/webhooks/cmc"

    def body(**parameters: object) -> bytes:
        payload = orjson.loads(PAYLOAD.read_bytes()) | parameters
        if headers == JSON:
            return orjson.dumps(payload)
        return urlencode(payload | {"event": orjson.dumps(payload["event"])}).encode()

    assert (await answer(http.post(url, data=body(api_key="s3cret"), headers=headers)))[1]["accepted"] == 1
    for wrong in (body(api_key="other"), body(), b"", b"{"):
        await refused(http.post(url, data=wrong, headers=headers), 401, "wrong-secret")
    unknown = body(api_key="s3cret", event_type="opens")
    assert (await answer(http.post(url, data=unknown, headers=headers)))[1]["accepted"] == 1
    (letter,) = log.lines("dead_letters")
    assert b"opens" in b64decode(letter["raw_base64"])
    assert b"s3cret" not in b64decode(letter["raw_base64"])
    assert not any(b"s3cret" in value for values in publisher.stored.values() for value in values)


async def test_every_answer_in_json_is_a_line(start: Start, http: aiohttp.ClientSession) -> None:
    role = await start()
    answers = [
        http.post(f"{role.url}/v1/webhooks/cmc", data=PAYLOAD.read_bytes(), headers=JSON),
        http.post(f"{role.url}/v1/webhooks/nobody", data=b"{}"),
        *(http.get(role.url + path) for path in ("/healthz", "/readyz", "/openapi.json", "/nowhere")),
    ]
    for one in answers:
        async with one as response:
            body = await response.read()
            assert body.endswith(b"}\n"), response.url
            assert body.count(b"\n") == 1


@pytest.mark.parametrize(
    ("secrets", "path", "told"),
    [
        (
            {"basic": ["user:pass"]},
            "/v1/webhooks/cmc",
            "expects the header Authorization: Basic with one of its `basic`",
        ),
        (
            {"bearer_tokens": ["t"], "api_keys": ["k"]},
            "/v1/events",
            "expects the header Authorization: Bearer with one",
        ),
        ({"bearer_tokens": ["t"], "api_keys": ["k"]}, "/v1/webhooks/cmc", ", or api_key in the body with one of its"),
        ({"api_keys": ["k"]}, "/v1/events", "give [sources.cmc] bearer_tokens or basic"),
    ],
)
async def test_who_shows_no_secret_learns_what_is_expected(
    start: Start, http: aiohttp.ClientSession, secrets: dict[str, Any], path: str, told: str
) -> None:
    role = await start(source(**secrets))
    status, problem = await answer(http.post(role.url + path, data=b"{}", headers=JSON))

    assert status == 401
    assert told in problem["detail"]


async def test_a_broken_body_with_a_key_is_kept_without_it(start: Start, http: aiohttp.ClientSession, log: Log) -> None:
    role = await start(source(api_keys=["s3cret"], bearer_tokens=["token"]))
    url = f"{role.url}/v1/webhooks/cmc"
    raw = b'{"api_key":"s3cret","event_type":'
    for headers in (JSON, {**JSON, "Authorization": "Bearer token"}):
        assert (await answer(http.post(url, data=raw, headers=headers)))[0] == 200
    await refused(http.post(url, data=raw.replace(b"3", b"4"), headers=JSON), 401, "wrong-secret")
    letters = [b64decode(letter["raw_base64"]) for letter in log.lines("dead_letters")]
    assert letters == [b'{"api_key":"","event_type":'] * 2


async def test_json_that_was_announced_as_a_form_is_named(
    start: Start, http: aiohttp.ClientSession, log: Log, publisher: MemoryPublisher
) -> None:
    role = await start(source(api_keys=["s3cret"], bearer_tokens=["token"]))
    url = f"{role.url}/v1/webhooks/cmc"
    told = (
        "the body looks like JSON and was read as a form, since its Content-Type is application/x-www-form-urlencoded: "
        "send Content-Type: application/json"
    )
    raw = orjson.dumps({"api_key": "s3cret", **orjson.loads(PAYLOAD.read_bytes())})

    status, problem = await answer(http.post(url, data=b"\n" + raw, headers=FORM))
    assert (status, problem["detail"].endswith(f"; {told}")) == (401, True)
    assert (await answer(http.post(url, data=raw, headers={**FORM, "Authorization": "Bearer token"})))[0] == 200
    status, problem = await answer(http.post(url, data=b"event_type=bounces", headers=FORM))
    assert (status, "Content-Type" in problem["detail"]) == (401, False)

    (letter,) = log.lines("dead_letters")
    assert letter["detail"] == f"event_type is missing or no text; {told}"
    assert orjson.loads(b64decode(letter["raw_base64"])) == {**orjson.loads(raw), "api_key": ""}
    assert not any(b"s3cret" in value for values in publisher.stored.values() for value in values)


@pytest.mark.parametrize(
    ("content_type", "named"), [("application/json", "its Content-Type is 'application/json'"), ("", "no Content-Type")]
)
async def test_lines_that_were_not_announced_are_named(
    start: Start, http: aiohttp.ClientSession, log: Log, content_type: str, named: str
) -> None:
    role = await start()
    url = f"{role.url}/v1/events"
    kind = {"Content-Type": content_type} if content_type else {}
    lines = b'{"type":"queued"}\n{"type":"delivered"}\n'
    await answer(http.post(url, data=lines, headers=kind, skip_auto_headers=["Content-Type"]))
    await answer(http.post(url, data=b'{\n  "type":\n}', headers=kind, skip_auto_headers=["Content-Type"]))

    details = [letter["detail"] for letter in log.lines("dead_letters")]
    (hint,) = [detail for detail in details if "looks like one event a line" in detail]
    assert len(details) == 2
    assert named in hint
    assert hint.endswith("send Content-Type: application/x-ndjson")


async def test_events_in_the_own_form(start: Start, http: aiohttp.ClientSession, log: Log) -> None:
    role = await start()
    events = [
        {"type": "queued", "occurred_at": "2023-01-25T05:03:06Z", "message_id": f"{number}@x"} for number in range(20)
    ]
    url = f"{role.url}/v1/events"
    assert (await answer(http.post(url, data=json.dumps(events), headers=JSON)))[1]["accepted"] == 20
    lines = "\n".join(json.dumps(event) for event in events) + "\nbroken"
    headers = {"Content-Type": "application/x-ndjson"}
    status, body = await answer(http.post(f"{url}?source=cmc", data=lines, headers=headers))
    assert (status, body["accepted"], body["unreadable"]) == (200, 21, 1)
    assert len({event["id"] for event in log.lines("events")}) == 20
    assert {event["provider"] for event in log.lines("events")} == {"generic"}
    parts = [part for part in log.lines("receipts") if part["receipt"] == body["receipt"]]
    assert {part["accepted"] for part in parts} == {21}
    assert (sum(part["events"] for part in parts), sum(part["dead_letters"] for part in parts)) == (20, 1)


async def test_with_several_sources_one_must_be_named(start: Start, http: aiohttp.ClientSession) -> None:
    role = await start({"one": SourceSettings(), "two": SourceSettings()})
    async with http.post(f"{role.url}/v1/events", data=b"[]") as response:
        assert response.status == 400
        assert "one, two" in (await response.json(content_type=None))["detail"]
    assert (await answer(http.post(f"{role.url}/v1/events?source=two", data=b"[]")))[0] == 200


async def test_a_flood_shares_chunks(start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher) -> None:
    role = await start()
    url = f"{role.url}/v1/webhooks/cmc"
    publisher.hold()
    posts = [asyncio.ensure_future(answer(http.post(url, data=PAYLOAD.read_bytes()))) for _ in range(50)]

    async def all_in() -> int:
        return int(role.readiness()[1]["in_flight_posts"])

    await eventually(all_in, lambda number: number == 50, within=10)
    publisher.release()
    assert {status for status, _ in await asyncio.gather(*posts)} == {200}
    chunks = [decode(value) for values in publisher.stored.values() for value in values]
    counts = [chunk.section("events").count(b"\n") for chunk in chunks if chunk.section("events")]
    assert sum(counts) == 50
    assert len(counts) <= 2


async def test_probes(start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher) -> None:
    role = await start()
    assert (await answer(http.get(f"{role.url}/healthz")))[0] == 200
    status, body = await answer(http.get(f"{role.url}/readyz"))
    assert (status, body["ready"], body["kafka"]) == (200, True, "reachable")
    publisher.hold()

    async def readiness() -> tuple[int, dict[str, Any]]:
        return await answer(http.get(f"{role.url}/readyz"))

    _, body = await eventually(readiness, lambda found: found[0] == 503, within=5)
    assert body["kafka"] == "away"
    assert (await answer(http.get(f"{role.url}/healthz")))[0] == 200
    publisher.release()
    await eventually(readiness, lambda found: found[0] == 200, within=5)


async def test_the_document_describes_what_there_is(start: Start, http: aiohttp.ClientSession) -> None:
    role = await start()
    _, served = await answer(http.get(f"{role.url}/openapi.json"))
    assert served == orjson.loads(orjson.dumps(document()))
    routes = {
        (route.resource.canonical, route.method.lower())
        for route in role._app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert routes == {(path, method) for path, methods in served["paths"].items() for method in methods}


async def test_stopping_finishes_what_was_begun(
    start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher, log: Log
) -> None:
    role = await start(tell_answered_every=60.0)
    publisher.hold()
    url = f"{role.url}/v1/webhooks/cmc"
    post = asyncio.ensure_future(answer(http.post(url, data=PAYLOAD.read_bytes())))

    async def begun() -> int:
        return publisher.begun

    await eventually(begun, within=5)
    stopping = asyncio.ensure_future(role.stop(Deadline(10, SystemClock())))

    async def ready() -> bool:
        return role.readiness()[0]

    await eventually(ready, lambda is_ready: not is_ready, within=5)
    publisher.release()
    assert (await post)[0] == 200
    await stopping
    await role.wait()
    assert [note["through"] for note in log.lines("answered")] == [1]
    await role.stop(Deadline(1, SystemClock()))
    with pytest.raises(aiohttp.ClientConnectionError):
        await answer(http.post(url, data=b""))


async def test_stopping_keeps_its_deadline(
    start: Start, http: aiohttp.ClientSession, publisher: MemoryPublisher
) -> None:
    role = await start()
    publisher.hold()
    post = asyncio.ensure_future(
        refused(http.post(f"{role.url}/v1/webhooks/cmc", data=PAYLOAD.read_bytes()), 503, "not-durable")
    )

    async def begun() -> int:
        return publisher.begun

    await eventually(begun, within=5)
    await role.stop(Deadline(0.05, SystemClock()))
    await post


class MistakenPublisher(MemoryPublisher):
    """Breaks its promise never to raise here."""

    async def is_reachable(self) -> bool:
        raise LookupError


async def test_a_mistake_in_the_background_ends_the_role_and_is_told() -> None:
    role = IngestRole(
        settings=IngestSettings.model_validate(QUICK),
        sources=default_sources(),
        kafka=KafkaConnection(),
        topics=topics(),
        publisher=MistakenPublisher(),
    )
    await role.start()
    async with asyncio.timeout(10):
        with pytest.raises(LookupError):
            await role.wait()
    await role.stop(Deadline(5, SystemClock()))


async def test_a_port_in_use_is_told(start: Start) -> None:
    role = await start()
    with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{role.port}"):
        await start(port=role.port)


async def test_one_connection_too_many_is_refused_unread(start: Start) -> None:
    role = await start(max_connections=2)
    kept = [await asyncio.open_connection("127.0.0.1", role.port) for _ in range(2)]
    request = b"POST /v1/webhooks/cmc HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(request)
        return await reader.readuntil(b"\r\n\r\n")

    assert [(await ask(*streams))[:12] for streams in kept] == [b"HTTP/1.1 200"] * 2
    reader, writer = await asyncio.open_connection("127.0.0.1", role.port)
    refused_unread = await reader.read()
    assert refused_unread.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 5" in refused_unread
    writer.close()
    kept.pop()[1].close()

    async def again() -> bytes:
        streams = await asyncio.open_connection("127.0.0.1", role.port)
        try:
            return (await ask(*streams))[:12]
        finally:
            streams[1].close()

    await eventually(again, lambda answer: answer == b"HTTP/1.1 200", within=5)
    kept[0][1].close()


async def test_a_sender_that_goes_away_leaves_nothing_behind(start: Start, log: Log) -> None:
    role = await start()
    _, writer = await asyncio.open_connection("127.0.0.1", role.port)
    writer.write(b"POST /v1/webhooks/cmc HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    await writer.drain()

    async def in_flight() -> int:
        return int(role.readiness()[1]["in_flight_bytes"])

    await eventually(in_flight, within=5)
    writer.close()
    await eventually(in_flight, lambda taken: taken == 0, within=5)
    assert log.lines("dead_letters") == []
