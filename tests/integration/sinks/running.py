"""Running sinks in tests: in this process, or in one that can be killed."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from sinks.role import ClickHouseSinkRole, TopicsSinkRole
from sinks.settings import ClickHouseConnection, ClickHouseSinkSettings, TopicsSinkSettings
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.kafka import KafkaConnection
from streams.contracts.role import Role
from streams.contracts.topics import Topics

ROOT = Path(__file__).parents[3]
IDLE_WITHIN = 60.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one test's pipeline is."""

    kafka: KafkaConnection
    prefix: str
    topics: Topics
    clickhouse: ClickHouseConnection | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the sinks, other than the defaults."""

    def clickhouse_role(self, *, registry: CollectorRegistry | None = None, **settings: Any) -> ClickHouseSinkRole:
        """Make a ClickHouse sink in this process, with metrics of its own unless a registry is given."""
        assert self.clickhouse is not None
        return ClickHouseSinkRole(
            kafka=self.kafka,
            topics=self.topics,
            clickhouse=self.clickhouse,
            settings=ClickHouseSinkSettings(**{**self.settings, **settings}),
            registry=registry or CollectorRegistry(),
        )

    def topics_role(self, *, registry: CollectorRegistry | None = None, **settings: Any) -> TopicsSinkRole:
        """Make a topics sink in this process, with metrics of its own unless a registry is given."""
        return TopicsSinkRole(
            kafka=self.kafka,
            topics=self.topics,
            settings=TopicsSinkSettings(**{**self.settings, **settings}),
            registry=registry or CollectorRegistry(),
        )

    @asynccontextmanager
    async def process(
        self, sink: str, *, inserts: int | None = None, **settings: Any
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a sink as a process of its own, which is killed at the end of the body if it still lives.

        Args:
            sink: ``clickhouse`` or ``topics``.
            inserts: after so many the process kills itself.
            settings: of the sink.
        """
        config = {
            "sink": sink,
            "kafka": self.kafka.bootstrap_servers,
            "prefix": self.prefix,
            "clickhouse": self.clickhouse.port if self.clickhouse else None,
            "database": self.clickhouse.database if self.clickhouse else None,
            "settings": {**self.settings, **settings},
            "inserts": inserts,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.sinks.sink_process", json.dumps(config), cwd=ROOT
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@asynccontextmanager
async def running(role: Role) -> AsyncIterator[Role]:
    """Run a sink for as long as the body lasts."""
    await role.start()
    try:
        yield role
    finally:
        await role.stop(Deadline(10, SystemClock()))


async def drain(role: Role) -> None:
    """Run a sink until everything is delivered."""
    async with running(role):
        await asyncio.wait_for(role.until_idle(), IDLE_WITHIN)


async def run_until_killed(place: Place, sink: str, *, inserts: int, **settings: Any) -> None:
    """Run a sink as a process of its own until it kills itself."""
    async with place.process(sink, inserts=inserts, **settings) as process:
        assert await asyncio.wait_for(process.wait(), IDLE_WITHIN) == -signal.SIGKILL
