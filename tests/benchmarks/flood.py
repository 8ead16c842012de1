"""What a flood does to the memory of ingest while Kafka stands still: ``python -m tests.benchmarks.flood``.

Kafka is stopped with SIGSTOP, so that its connections stay open and nothing is acknowledged: the worst of all outages
for who has to keep what is under way. Then many times as much is sent as ingest may hold, plain posts and hostile ones,
over many connections, and the memory of the process is watched. At the end Kafka goes on, and what was accepted must be
there.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import orjson
import psutil

from deploy.embedded.kafka import EmbeddedKafka
from streams.contracts.topics import topics
from tests.eventually import eventually
from tests.integration.ingest.inbox import create_inbox, read_inbox
from tests.traffic.connection import FAILURES, Connection

MB = 1024 * 1024
LOOK_EVERY = 0.05
SETTLE = 3.0
"""Seconds that the process is watched after the flood."""
PER_CONNECTION = 200_000
PER_EVENT = 2_000
COLUMNS = 60


@dataclass(frozen=True, kw_only=True)
class Flood:
    """How much of what."""

    capacity: int
    """``max_bytes_in_flight``."""
    body: int
    """``max_body_bytes``, the size of hostile posts."""
    body_events: int
    """``max_body_events``."""
    times: float
    """Times the capacity that is sent while Kafka stands still."""
    connections: int = 64
    answer_within: float = 3.0

    @property
    def bound(self) -> int:
        """Bytes that the process may take beyond what it takes when it is idle, as docs/configure.md has it."""
        reading = 24 * self.body + PER_EVENT * self.body_events
        return 3 * self.capacity + reading + PER_CONNECTION * self.connections

    def settings(self) -> str:
        """Give them as JSON for the process."""
        ingest = {"max_bytes_in_flight": self.capacity, "answer_within": self.answer_within, "kafka_timeout": 5}
        source = {"max_body_bytes": self.body, "max_body_events": self.body_events}
        return json.dumps({"ingest": ingest, "sources": {"cmc": source}})


@dataclass
class Outcome:
    """What was seen."""

    idle: int = 0
    """Bytes of memory before the flood."""
    highest: int = 0
    """Bytes of memory at any instant, as the system has kept it."""
    points: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since then, bytes of memory."""
    sent: int = 0
    """Bytes of bodies."""
    statuses: dict[int, int] = field(default_factory=dict)
    receipts: dict[str, int] = field(default_factory=dict)
    """Answered 200, with the number of events."""
    lost: list[str] = field(default_factory=list)
    """Of these, the receipts that are not complete in the inbox."""

    @property
    def peak(self) -> int:
        """Bytes beyond what the process takes when it is idle."""
        return max(self.highest, *(size for _, size in self.points)) - self.idle


class IngestProcess:
    """The process that is watched. As a context manager: started, and ended."""

    def __init__(self, bootstrap_servers: str, prefix: str, settings: str) -> None:
        self._command = (sys.executable, "-m", "tests.traffic.ingest_process", bootstrap_servers, prefix, settings)
        self.url = ""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(*self._command, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(await self._process.stdout.readline())}/v1/events"
        self._seen = psutil.Process(self._process.pid)
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()

    def memory(self) -> int:
        """Tell the bytes that are resident."""
        return int(self._seen.memory_info().rss)

    def highest_memory(self) -> int:
        """Tell the bytes that were resident at the most."""
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.exists():  # not on Linux
            return self.memory()
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024


def plain(number: int, events: int = 300) -> bytes:
    """Make a post as a busy sender makes them, about 100 kB."""
    return orjson.dumps(
        [
            {
                "type": "delivered",
                "occurred_at": "2023-01-25T05:03:06Z",
                "message_id": f"{number}-{event}@example.com",
                "recipient": f"user{event}@example.jp",
                "sender": "info@example.com",
                "subject": "メールマガジン 第120号",
                "reason": "250 2.0.0 OK: queued as 4Q2Z6c1Yq1z9 " + "r" * 100,
            }
            for event in range(events)
        ]
    )


def hostile(flood: Flood) -> Sequence[bytes]:
    """Make posts that take as much memory as any of their size."""
    event = b'{"type":"a","occurred_at":"2023-01-01T00:00:00Z","recipient":"%d"}'
    size, most = flood.body, flood.body_events
    names = b"{" + b",".join(b'"%06x":1' % number for number in range(size // 12)) + b"}"
    return (
        b"[" + b",".join([b"{}"] * (size // 4)) + b"]",
        b"[" + b",".join([b"1.5"] * (size // 5)) + b"]",
        b"[" + b",".join(event % number for number in range(min(most, size // 80))) + b"]",
        names,
        b'["' + "é".encode() * (size // 4) + "😀".encode() + b'"]',
    )


async def flood_ingest(broker: EmbeddedKafka, prefix: str, flood: Flood) -> Outcome:
    """Send a flood while the broker stands still, then let it go on, and see what was kept."""
    outcome = Outcome()
    assert broker.pid is not None
    java = psutil.Process(broker.pid)
    async with IngestProcess(broker.bootstrap_servers, prefix, flood.settings()) as process:
        await _warm_up(process.url, outcome)
        outcome.idle = process.memory()
        java.suspend()
        try:
            watching = asyncio.create_task(_watch(process, outcome))
            bodies = _bodies(flood)
            await asyncio.gather(*(_send(process.url, bodies, outcome) for _ in range(flood.connections)))
            await asyncio.sleep(flood.answer_within)
        finally:
            java.resume()
        await _until_taken(process.url, outcome)
        await asyncio.sleep(SETTLE)
        watching.cancel()
        outcome.highest = process.highest_memory()
    outcome.lost = await _incomplete(broker, prefix, outcome.receipts)
    return outcome


async def _warm_up(url: str, outcome: Outcome) -> None:
    connection = Connection(url)
    for number in range(20):
        await _post(connection, plain(-number - 1), outcome)
    connection.close()


def _bodies(flood: Flood) -> Iterator[bytes]:
    """Give posts until the flood is over: one in eight is hostile."""
    draw = random.Random(5)  # noqa: S311 - any order will do
    bad = hostile(flood)
    sent = number = 0
    while sent < flood.times * flood.capacity:
        number += 1
        body = draw.choice(bad) if draw.random() < 1 / 8 else plain(number)
        sent += len(body)
        yield body


async def _send(url: str, bodies: Iterator[bytes], outcome: Outcome) -> None:
    connection = Connection(url)
    for body in bodies:
        await _post(connection, body, outcome)
    connection.close()


async def _post(connection: Connection, body: bytes, outcome: Outcome) -> int:
    outcome.sent += len(body)
    try:
        answer = await connection.post(body, "application/json", patience=60.0)
    except FAILURES:
        outcome.statuses[0] = outcome.statuses.get(0, 0) + 1
        return 0
    outcome.statuses[answer.status] = outcome.statuses.get(answer.status, 0) + 1
    if answer.status == 200:
        told = orjson.loads(answer.body)
        outcome.receipts[told["receipt"]] = told["accepted"]
    return answer.status


async def _until_taken(url: str, outcome: Outcome) -> None:
    """Post until it is taken again, as every sender would."""
    connection = Connection(url)

    async def take() -> int:
        return await _post(connection, plain(0), outcome)

    await eventually(take, lambda status: status == 200, within=120)
    connection.close()


async def _watch(process: IngestProcess, outcome: Outcome) -> None:
    began = time.monotonic()
    while True:
        outcome.points.append((time.monotonic() - began, process.memory()))
        await asyncio.sleep(LOOK_EVERY)


async def _incomplete(broker: EmbeddedKafka, prefix: str, receipts: dict[str, int]) -> list[str]:
    found: dict[str, dict[int, int]] = {}
    for stored in await read_inbox(broker.bootstrap_servers, topics(prefix)):
        for line in stored.lines("receipts"):
            found.setdefault(line["receipt"], {})[line["part"]] = line["events"] + line["dead_letters"]
    return [receipt for receipt, number in receipts.items() if sum(found.get(receipt, {}).values()) != number]


def _draw(flood: Flood, outcome: Outcome) -> None:
    """Print the curve, a line a second."""
    second = -1
    for at, size in outcome.points:
        if int(at) > second:
            second = int(at)
            beyond = size - outcome.idle
            print(f"{second:4d} s {size / MB:7.0f} MB  {'#' * max(0, round(COLUMNS * beyond / flood.bound))}")
    print(f"idle {outcome.idle / MB:.0f} MB; bound {flood.bound / MB:.0f} MB more ({COLUMNS} columns)")
    print(f"peak {outcome.peak / MB:.0f} MB more, at the end {(outcome.points[-1][1] - outcome.idle) / MB:.0f} MB more")
    print(f"sent {outcome.sent / MB:.0f} MB, {outcome.sent / flood.capacity:.1f} times what may be in flight")
    print(f"answers by status: {outcome.statuses}; accepted posts that are not complete: {len(outcome.lost)}")


async def _main(flood: Flood) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedKafka(data=Path(folder) / "kafka") as broker:
            await create_inbox(broker.bootstrap_servers, topics("flood."))
            outcome = await flood_ingest(broker, "flood.", flood)
    _draw(flood, outcome)
    if outcome.peak > flood.bound or outcome.lost:
        sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Show the memory of ingest in a flood while Kafka stands still.")
    parser.add_argument("--capacity-mb", type=int, default=128, help="max_bytes_in_flight [128]")
    parser.add_argument("--body-mb", type=int, default=32, help="max_body_bytes [32]")
    parser.add_argument("--body-events", type=int, default=100_000, help="max_body_events [100000]")
    parser.add_argument("--times", type=float, default=10, help="times the capacity that is sent [10]")
    parser.add_argument("--connections", type=int, default=64, help="connections [64]")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.run(
        _main(
            Flood(
                capacity=given.capacity_mb * MB,
                body=given.body_mb * MB,
                body_events=given.body_events,
                times=given.times,
                connections=given.connections,
            )
        )
    )
