"""Whatever a worker is stuck in, its process ends, with a code that says: start me again."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.exit import Exit
from streams.contracts.errors import StalledError
from tests.chunks import make_chunk, make_event
from tests.eventually import eventually
from tests.integration.streams.stage import Stage, unique_ids
from tests.integration.streams.test_guards import mails, once
from tests.integration.streams.test_kills import process

ROOT = Path(__file__).parents[3]


@contextlib.asynccontextmanager
async def stuck(stage: Stage, how: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker, and give it once it is stuck."""
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.streams.stuck_process"),
        *(how, stage.bootstrap_servers, stage.topics.inbox.name.removesuffix("inbox")),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdout is not None
    try:
        assert await asyncio.wait_for(worker.stdout.readline(), 60) == b"stuck\n"
        yield worker
    finally:
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()


@pytest.mark.parametrize("how", ["consumer ended", "consumer blocked"])
async def test_a_process_whose_consumer_is_stuck_ends(stage: Stage, how: str) -> None:
    await stage.put([make_chunk([make_event()])])
    async with stuck(stage, how) as worker:
        await stage.put([make_chunk(mails(0, 10))])
        assert await asyncio.wait_for(worker.wait(), 60) == Exit.UNREACHABLE


async def test_a_worker_that_was_frozen_and_replaced_does_no_harm(stage: Stage) -> None:
    """SIGSTOP for longer than the session: when it goes on, it does not know that its partition went to another."""
    events = mails(0, 400)
    chunks = [make_chunk(events[at : at + 2]) for at in range(0, 400, 2)]
    async with process(stage, "") as frozen:
        await stage.put(chunks[:80])
        await eventually(lambda: stage.extent(stage.topics.outbox), lambda end: end > 10)
        frozen.send_signal(signal.SIGSTOP)
        async with process(stage, ""):
            await stage.put(chunks[80:120])
            await eventually(lambda: stage.extent(stage.topics.outbox), lambda end: end >= 121, within=60)
            frozen.send_signal(signal.SIGCONT)
            await stage.put(chunks[120:])
            await eventually(stage.told, lambda told: told.chain.stamp == 199, within=60)
        # Alone again, it takes the partition back.
        await stage.put([chunks[0]])
        await eventually(stage.told, lambda told: told.chain.stamp == 200, within=60)

    told = await stage.told()
    assert unique_ids(told) == once(*events)


async def test_a_load_that_stands_still_ends_the_worker(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage.running(watchdog=2) as worker:
        await worker.until_idle()
        shard = worker._shards._shards[0]
        monkeypatch.setattr(shard._beginning, "_try", asyncio.Event().wait)
        shard._begin_again("test")
        with pytest.raises(StalledError, match="shard 0 is being loaded"):
            await asyncio.wait_for(worker.wait(), 20)


async def test_a_worker_without_its_watch_ends(stage: Stage) -> None:
    async with stage.running() as worker:
        worker._tasks[0].cancel()
        with pytest.raises(RuntimeError, match="worker watch"):
            await asyncio.wait_for(worker.wait(), 20)
