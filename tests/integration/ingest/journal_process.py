"""Ingest with a journal in a process of its own, which may kill itself at a given step.

``python -m tests.integration.ingest.journal_process BOOTSTRAP PREFIX FOLDER STEP`` prints its port once it takes posts.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson

from deploy.event_loop import new_event_loop
from ingest.journal.entries import Chunk, Entry
from ingest.journal.store import Store
from ingest.publisher import KafkaPublisher
from ingest.role import IngestRole
from ingest.settings import IngestSettings, SourceSettings
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import topics

STEPS = (
    "before the commit",
    "after the commit",
    "before sending",
    "after sending",
    "before removing",
    "after removing",
)


NEVER = "never"


class JournalProcess:
    """Ingest as a process that is killed and started again with the same journal. As a context manager: ended."""

    def __init__(self, bootstrap_servers: str, prefix: str, folder: Path) -> None:
        self._arguments = (bootstrap_servers, prefix, str(folder))
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.is_running:
            self.kill()
            await self.wait()

    async def start(self, step: str = NEVER) -> None:
        command = (sys.executable, "-m", "tests.integration.ingest.journal_process", *self._arguments, step)
        self._process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        port = int(await self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{port}/v1/events"

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def wait(self) -> int:
        assert self._process is not None
        return await self._process.wait()


def body(number: int, events: int = 20) -> bytes:
    """Make a post whose events go to several shards, and one record that is no event."""
    made = [
        {"type": "queued", "occurred_at": "2023-01-25T05:03:06Z", "message_id": f"{number}-{event}@x"}
        for event in range(events)
    ]
    return orjson.dumps([*made, {"no": "event"}])


async def post(http: aiohttp.ClientSession, url: str, raw: bytes) -> dict[str, Any] | None:
    """Give the answer if it was 200."""
    try:
        headers = {"Content-Type": "application/json"}
        async with http.post(url, data=raw, headers=headers, timeout=aiohttp.ClientTimeout(10)) as response:
            return await response.json() if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(step: str, settings: IngestSettings, kafka: KafkaConnection, topic_prefix: str) -> KafkaPublisher:
    """Have this process kill itself when it comes to a step; give its publisher."""
    commit = Store.commit

    def killing_commit(self: Store, entries: Sequence[Entry], done: Iterable[Chunk], forgotten: Iterable[int]) -> None:
        done = list(done)
        if (step == "before the commit" and entries) or (step == "before removing" and done):
            die()
        commit(self, entries, done, forgotten)
        if (step == "after the commit" and entries) or (step == "after removing" and done):
            die()

    Store.commit = killing_commit  # type: ignore[method-assign]

    class KillingPublisher(KafkaPublisher):
        async def publish(self, shard: int, value: bytes) -> None:
            if step == "before sending" and b'"receipts"' in value:
                die()
            await super().publish(shard, value)
            if step == "after sending" and b'"receipts"' in value:
                die()

    return KillingPublisher(
        kafka=kafka,
        topic=topics(topic_prefix).inbox,
        compression=settings.compression,
        request_timeout=settings.kafka_timeout,
    )


async def main(bootstrap_servers: str, prefix: str, folder: str, step: str) -> None:
    settings = IngestSettings.model_validate(
        {"port": 0, "tell_answered_every": 0.1, "probe_every": 0.1, "journal": Path(folder)}
    )
    kafka = KafkaConnection(bootstrap_servers=bootstrap_servers)
    role = IngestRole(
        settings=settings,
        sources={"cmc": SourceSettings.model_validate({"durability": "journal", "batching": {"interval": 0.02}})},
        kafka=kafka,
        topics=topics(prefix),
        publisher=dies_at(step, settings, kafka, prefix),
    )
    await role.start()
    sys.stdout.write(f"{role.port}\n")
    sys.stdout.flush()
    await role.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(*sys.argv[1:5]))
