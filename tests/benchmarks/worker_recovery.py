"""How soon a worker works again that was killed: ``python -m tests.benchmarks.worker_recovery [LIFECYCLES …]``.

Prints where the time goes from the start of the process, for a new worker and for one that returns after kill -9 under
the same name, with that many open lifecycles in two shards; and how much of it is processor time, which says more on a
machine that does other things as well.
"""

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
from aiokafka import AIOKafkaProducer

from deploy.embedded.kafka import EmbeddedKafka
from streams.answer import answer, found
from streams.contracts.clock import rfc3339
from streams.contracts.codec import compressed, decode, form_header
from streams.contracts.compression import Compression
from streams.contracts.topics import OUTBOX_LIMIT
from streams.inbox import InboxRecord
from streams.state import BEGINNING, PartitionState
from tests.chunks import make_chunk, make_event
from tests.eventually import eventually
from tests.integration.streams.stage import Stage, stage_in

ROOT = Path(__file__).parents[2]
SHARDS = 2
CHUNK = 500
STEPS = {
    "program there": "health and metrics of worker",
    "partitions assigned": "Assigned shards",
    "state loaded": "Loaded shard",
}


async def fill(stage: Stage, lifecycles: int) -> None:
    """Write an inbox and the outbox that answers it, with so many open lifecycles."""
    producer = AIOKafkaProducer(bootstrap_servers=stage.bootstrap_servers, max_request_size=16_000_000, linger_ms=5)
    await producer.start()
    now = datetime.now(UTC)
    at = rfc3339(now)
    milliseconds = round(datetime.fromisoformat(at).timestamp() * 1000)

    async def write(topic: str, shard: int, value: bytes) -> None:
        written = compressed(value, Compression.ZSTD, OUTBOX_LIMIT)
        headers = [form_header(written)]
        await producer.send(topic, written, partition=shard, timestamp_ms=milliseconds, headers=headers)

    try:
        for shard in range(SHARDS):
            state = PartitionState(24)
            founding = found(-1, None, BEGINNING, [])
            state.apply(decode(founding))
            await write(stage.topics.outbox.name, shard, founding)
            for offset in range(lifecycles // SHARDS // CHUNK):
                chunk = make_chunk(
                    make_event(
                        message_id=f"{shard}.{offset}.{number}@mail.example.com", recipient=f"{number}@example.jp"
                    )
                    for number in range(CHUNK)
                )
                record = InboxRecord(topic="", shard=shard, offset=offset, at=at, value=chunk)
                told = answer(record, state, [], "benchmark")
                state.apply(told.record)
                await write(stage.topics.inbox.name, shard, chunk)
                await write(stage.topics.outbox.name, shard, told.value)
    finally:
        await producer.stop()


@asynccontextmanager
async def worker(stage: Stage, seen: dict[str, float]) -> AsyncIterator[None]:
    """Run the real command, note when it says what, and kill it."""
    variables = {
        "TODOKE_KAFKA__BOOTSTRAP_SERVERS": stage.bootstrap_servers,
        "TODOKE_TOPICS__PREFIX": stage.topics.inbox.name.removesuffix("inbox"),
        "TODOKE_WORKER__GROUP": stage.group,
        "TODOKE_WORKER__INSTANCE": "one",
        "TODOKE_ADMIN__PORT": "0",
    }
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "deploy.cli", "worker"),
        env={**os.environ, **variables},
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )

    async def note() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            for step, words in STEPS.items():
                if re.search(words, line.decode()):
                    seen[step] = time.monotonic() - began

    noting = asyncio.create_task(note())
    try:
        yield
        seen["first answer"] = time.monotonic() - began
    finally:
        used = psutil.Process(process.pid).cpu_times()
        process.kill()
        await process.wait()
        await noting
        seen["processor"] = used.user + used.system


async def measure(stage: Stage, number: int) -> dict[str, float]:
    """Start a worker and put a record into each shard at the same time; wait until both are answered."""
    seen: dict[str, float] = {}
    before = await stage.extent(stage.topics.outbox)
    async with worker(stage, seen):
        for shard in range(SHARDS):
            await stage.put([make_chunk([make_event(message_id=f"new.{shard}.{number}@example.com")])], shard)
        await eventually(lambda: stage.extent(stage.topics.outbox), lambda end: end >= before + SHARDS, within=300)
    return seen


async def main(sizes: list[int]) -> None:
    """Print a table."""
    columns = (*STEPS, "first answer", "processor")
    print(f"{'open lifecycles':>16}  {'worker':<14}" + "".join(f"{name:>21}" for name in columns))
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedKafka(data=Path(folder) / "data") as kafka:
            for size in sizes:
                stage = stage_in(kafka.bootstrap_servers, f"recovery{size}.", shards=SHARDS)
                await stage.create()
                await fill(stage, size)
                for number, name in enumerate(("new", "killed before", "killed before")):
                    seen = await measure(stage, number)
                    print(f"{size:>16,}  {name:<14}" + "".join(f"{seen.get(step, 0):>19.2f} s" for step in columns))


if __name__ == "__main__":
    asyncio.run(main([int(size) for size in sys.argv[1:]] or [1_000, 100_000, 1_000_000]))
