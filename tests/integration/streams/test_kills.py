"""Workers that die or come and go: every event comes out once all the same."""

import asyncio
import contextlib
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from zlib import crc32

import pytest

from streams.contracts.events import Event
from streams.contracts.sections import Outbox
from tests.chunks import make_chunk, make_event
from tests.eventually import eventually
from tests.integration.streams.stage import Stage, Told, unique_ids

ROOT = Path(__file__).parents[3]
SECONDS = 90.0


@contextlib.asynccontextmanager
async def process(stage: Stage, instance: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker that is killed, never stopped."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.streams.process",
        stage.bootstrap_servers,
        stage.topics.inbox.name.removesuffix("inbox"),
        str(stage.shards),
        stage.group,
        instance,
        cwd=ROOT,
    )
    try:
        yield worker
    finally:
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()


def history(mails: int) -> list[Event]:
    return [
        make_event(message_id=f"{number}@example.com", type=type_, occurred_at=f"2026-03-02T00:00:0{second}.000Z")
        for number in range(mails)
        for second, type_ in enumerate(("queued", "deferred", "delivered"))
    ]


def with_resends(events: Sequence[Event], size: int, chance: random.Random) -> list[bytes]:
    """Cut events into chunks; every third chunk comes again, some chunks later."""
    chunks = [make_chunk(events[at : at + size]) for at in range(0, len(events), size)]
    for chunk in chunks[::3]:
        chunks.insert(chance.randrange(len(chunks)), chunk)
    return chunks


async def put_all(stage: Stage, events: Sequence[Event], size: int, chance: random.Random) -> list[int]:
    """Spread events over the shards by their message; give the last inbox offset of each."""
    parts: list[list[Event]] = [[] for _ in range(stage.shards)]
    for event in events:
        parts[crc32(event["message_id"].encode()) % stage.shards].append(event)
    return [await stage.put(with_resends(part, size, chance), shard) for shard, part in enumerate(parts)]


async def until_written(stage: Stage, records: int) -> int:
    """Return as soon as the outbox has more records than a number."""
    return await eventually(lambda: stage.extent(stage.topics.outbox), lambda there: there > records, within=SECONDS)


async def everything(stage: Stage, last: Sequence[int]) -> dict[int, Told]:
    """Read all outbox partitions once they answer all that was put."""
    await until_written(stage, sum(last) + stage.shards)

    async def told() -> dict[int, Told]:
        return {shard: await stage.told(shard) for shard in range(stage.shards)}

    return await eventually(
        told, lambda told: all(told[shard].chain.stamp == stamp for shard, stamp in enumerate(last)), within=SECONDS
    )


def assert_each_once(told: dict[int, Told], events: Sequence[Event]) -> None:
    assert unique_ids(told) == dict.fromkeys((event["id"] for event in events), 1)
    for part in told.values():
        stamps = [record.header["stamp"] for record in part.records]
        assert stamps == list(range(-1, len(stamps) - 1))
    latest = {row["message_id"]: row for part in told.values() for row in part.rows(Outbox.LIFECYCLES)}
    assert Counter((row["events"], row["state"]) for row in latest.values()) == {(3, "delivered"): len(events) // 3}


@pytest.mark.timeout(600)
async def test_a_worker_killed_again_and_again_loses_and_repeats_nothing(wide_stage: Stage) -> None:
    chance = random.Random(7)  # noqa: S311 - a test's dice
    events = history(12_000)
    # In so many records that no machine is done with them before the last kill.
    last = await put_all(wide_stage, events, 6, chance)
    written = 0
    for _ in range(6):
        async with process(wide_stage, "one"):
            written = await until_written(wide_stage, written + chance.randrange(1, 300))
    assert written < sum(last), "the worker had nothing left to be killed in"
    async with process(wide_stage, "one"):
        told = await everything(wide_stage, last)

    assert_each_once(told, events)


@pytest.mark.timeout(600)
async def test_workers_that_come_and_go_lose_and_repeat_nothing(wide_stage: Stage) -> None:
    chance = random.Random(8)  # noqa: S311 - a test's dice
    events = history(6_000)
    portions = [events[at : at + 6000] for at in range(0, len(events), 6000)]
    last = [0]
    async with wide_stage.running():
        for portion in portions:
            before = await wide_stage.extent(wide_stage.topics.outbox)
            last = await put_all(wide_stage, portion, 25, chance)
            await until_written(wide_stage, before + chance.randrange(1, 100))
            async with wide_stage.running() as second:
                await until_written(wide_stage, sum(last) - chance.randrange(1, 100))
                assert second.readiness()[1]["shards"], "the second worker got nothing to do"
        told = await everything(wide_stage, last)

    assert_each_once(told, events)
