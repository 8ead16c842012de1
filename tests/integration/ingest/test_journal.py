"""The journal with a real Kafka: killed at every step, and while Kafka is away."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from deploy.embedded.kafka import EmbeddedKafka
from ingest.role import IngestRole
from ingest.settings import SourceSettings
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.topics import Topics, topics
from tests.eventually import eventually
from tests.integration.ingest.inbox import create_inbox, ingest, read_inbox
from tests.integration.ingest.journal_process import STEPS, JournalProcess, body, post

pytestmark = pytest.mark.asyncio(loop_scope="session")

JOURNALED = {"cmc": SourceSettings.model_validate({"durability": "journal", "batching": {"interval": 0.02}})}


@pytest_asyncio.fixture(loop_scope="session")
async def inbox(kafka: EmbeddedKafka, topic_prefix: str) -> Topics:
    made = topics(topic_prefix)
    await create_inbox(kafka.bootstrap_servers, made)
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def process(
    kafka: EmbeddedKafka, inbox: Topics, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[JournalProcess]:
    assert inbox.inbox.name.startswith(topic_prefix)
    async with JournalProcess(kafka.bootstrap_servers, topic_prefix, tmp_path / "journal") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def parts_by_receipt(kafka: EmbeddedKafka, inbox: Topics) -> dict[str, dict[int, tuple[Any, ...]]]:
    """Read what the inbox says of each receipt: its parts by number, of which copies must be equal."""
    found: dict[str, dict[int, tuple[Any, ...]]] = defaultdict(dict)
    for stored in await read_inbox(kafka.bootstrap_servers, inbox):
        ids: dict[str, list[str]] = defaultdict(list)
        for event in stored.lines("events"):
            ids[event["receipt"]].append(event["id"])
        for line in stored.lines("receipts"):
            part = (line["accepted"], line["events"], line["dead_letters"], stored.shard)
            assert found[line["receipt"]].setdefault(line["part"], part) == part
        assert set(ids) <= {line["receipt"] for line in stored.lines("receipts")}
    return found


async def is_complete(kafka: EmbeddedKafka, inbox: Topics, receipts: set[str]) -> bool:
    found = await parts_by_receipt(kafka, inbox)
    for receipt in receipts:
        parts = found.get(receipt, {}).values()
        if not parts or sum(part[1] + part[2] for part in parts) != next(iter(parts))[0]:
            return False
    return True


@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_any_step_nothing_is_lost_and_copies_are_known(
    step: str, process: JournalProcess, kafka: EmbeddedKafka, inbox: Topics, http: aiohttp.ClientSession
) -> None:
    await process.start(step)
    answers = await asyncio.gather(*(post(http, process.url, body(number)) for number in range(5)))
    assert await process.wait() == -9
    await process.start()
    last = await post(http, process.url, body(99))
    assert last is not None
    accepted = {answer["receipt"] for answer in (*answers, last) if answer is not None}
    await eventually(lambda: is_complete(kafka, inbox, accepted))
    found = await parts_by_receipt(kafka, inbox)
    # Whatever came into the journal comes as a whole, answered or not.
    assert await is_complete(kafka, inbox, set(found))
    if step == "before the commit":
        assert accepted == set(found) == {last["receipt"]}
    else:
        assert len(found) > 1


async def test_killed_again_and_again_nothing_is_lost(
    process: JournalProcess, kafka: EmbeddedKafka, inbox: Topics, http: aiohttp.ClientSession
) -> None:
    draw = random.Random(3)  # noqa: S311 - any instants will do
    accepted: dict[str, int] = {}
    number = 0
    for _ in range(8):
        await process.start()
        killing = asyncio.get_running_loop().call_later(draw.uniform(0.01, 0.6), process.kill)
        running = asyncio.create_task(process.wait())
        while not running.done():
            answers = await asyncio.gather(*(post(http, process.url, body(number + more)) for more in range(4)))
            accepted |= {answer["receipt"]: answer["accepted"] for answer in answers if answer is not None}
            number += 4
        killing.cancel()
    await process.start()
    await eventually(lambda: is_complete(kafka, inbox, set(accepted)))
    assert len(accepted) > 8
    found = await parts_by_receipt(kafka, inbox)
    assert {receipt: found[receipt][0][0] for receipt in accepted} == accepted


async def told(kafka: EmbeddedKafka, inbox: Topics) -> dict[str, int]:
    notes = [note for stored in await read_inbox(kafka.bootstrap_servers, inbox) for note in stored.lines("answered")]
    through: dict[str, int] = {}
    for note in notes:
        assert note["abandoned"] == []
        through[note["instance"]] = max(note["through"], through.get(note["instance"], 0))
    return through


async def test_the_log_is_told_of_posts_that_a_killed_process_answered(
    process: JournalProcess, kafka: EmbeddedKafka, inbox: Topics, http: aiohttp.ClientSession
) -> None:
    await process.start("after removing")
    answer = await post(http, process.url, body(1))
    assert answer is not None
    assert await process.wait() == -9
    await process.start()
    instance, number = answer["receipt"][:20], int(answer["receipt"][20:], 16)

    async def said() -> int:
        return (await told(kafka, inbox)).get(instance, 0)

    await eventually(said, lambda through: through == number)


OWN = topics("own.")


@pytest_asyncio.fixture(loop_scope="session")
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedKafka]:
    """A broker that may be killed."""
    made = EmbeddedKafka(data=tmp_path / "kafka")
    await made.start()
    await create_inbox(made.bootstrap_servers, OWN)
    yield made
    await made.stop()


async def test_a_kafka_that_is_away_is_not_noticed_by_senders(
    broker: EmbeddedKafka, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    def role() -> IngestRole:
        return ingest(
            broker.bootstrap_servers,
            OWN,
            sources=JOURNALED,
            journal=tmp_path / "journal",
            journal_max_bytes=2**20,
            kafka_timeout=2.0,
        )

    accepted: set[str] = set()

    async def take(url: str, number: int, events: int = 20) -> bool:
        answer = await post(http, url, body(number, events))
        if answer is not None:
            accepted.add(answer["receipt"])
        return answer is not None

    first = role()
    await first.start()
    assert await take(f"{first.url}/v1/events", 0)
    broker.kill()
    await broker.wait()
    assert await take(f"{first.url}/v1/events", 1)

    async def kafka_is() -> str:
        return str(first.readiness()[1]["kafka"])

    await eventually(kafka_is, lambda said: said == "away")
    assert first.readiness()[0]
    async with asyncio.timeout(5):
        await first.stop(Deadline(1, SystemClock()))

    second = role()
    await second.start()  # without Kafka
    running = asyncio.create_task(second.wait())
    try:
        number = 2
        while await take(f"{second.url}/v1/events", number, events=200):
            number += 1
        assert number > 5
        assert not second.readiness()[0]
        await broker.start()

        async def again() -> bool:
            return await take(f"{second.url}/v1/events", number)

        await eventually(again)
        await second.until_idle()
        assert second.readiness()[0]
        assert await is_complete(broker, OWN, accepted)
        assert not running.done()
    finally:
        await second.stop(Deadline(5, SystemClock()))
        await asyncio.wait({running})


async def test_a_journal_that_never_saw_kafka_waits_for_it(tmp_path: Path) -> None:
    role = ingest("127.0.0.1:1", OWN, sources=JOURNALED, journal=tmp_path / "journal")
    with pytest.raises(Exception, match=r"Kafka at 127\.0\.0\.1:1 cannot be reached"):
        await role.start()
    await role.stop(Deadline(1, SystemClock()))
