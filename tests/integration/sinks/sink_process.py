"""A sink as a process of its own, for tests that kill it: ``python sink_process.py CONFIG`` with CONFIG as JSON."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from sinks.clickhouse.writer import ClickHouseWriter
from sinks.role import ClickHouseSinkRole, TopicsSinkRole
from sinks.settings import ClickHouseConnection, ClickHouseSinkSettings, TopicsSinkSettings
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import topics


class MortalWriter(ClickHouseWriter):
    """Takes its process with it after some inserts; 0 is before the first one."""

    def __init__(self, *, connection: ClickHouseConnection, inserts: int | None) -> None:
        super().__init__(connection=connection)
        self._left = inserts

    async def _insert(self, table: str, lines: bytes, name: str, columns: Sequence[str] | None = None) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._left is not None:
            self._left -= 1
        await super()._insert(table, lines, name, columns)
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def make(config: dict[str, Any]) -> ClickHouseSinkRole | TopicsSinkRole:
    """Make the role that the configuration describes."""
    kafka = KafkaConnection(bootstrap_servers=config["kafka"])
    names = topics(config["prefix"])
    registry = CollectorRegistry()
    if config["sink"] == "topics":
        return TopicsSinkRole(
            kafka=kafka, topics=names, settings=TopicsSinkSettings(**config["settings"]), registry=registry
        )
    connection = ClickHouseConnection(port=config["clickhouse"], database=config["database"])
    return ClickHouseSinkRole(
        kafka=kafka,
        topics=names,
        clickhouse=connection,
        settings=ClickHouseSinkSettings(**config["settings"]),
        registry=registry,
        writer=MortalWriter(connection=connection, inserts=config["inserts"]),
    )


async def main(config: dict[str, Any]) -> None:
    """Run until the process is killed."""
    role = make(config)
    await role.start()
    await role.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(main(json.loads(sys.argv[1])))
