"""What one event costs ClickHouse, in microseconds of the server's processor time: as it is, and changed, in one run.

    python -m tests.benchmarks.clickhouse_cpu [--block 20000] [--events 200000]
        [--changed-block 40000] [--setting NAME=VALUE] [--table-setting NAME=VALUE]

Two embedded servers get the same events in turn, so that what else the machine does falls on both. Settings are those
of the inserts, table settings those of every table that a block fills; both are for the second server alone.

On ext4 a file is made the more slowly the more files were deleted in the last minutes: look at both figures of one
run, never at those of two.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cramjam
import orjson
import psutil

from deploy.embedded.clickhouse import EmbeddedClickHouse
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.writer import INSERT_SETTINGS
from sinks.settings import ClickHouseConnection
from streams.contracts.codec import decode
from streams.contracts.sections import Outbox
from tests.benchmarks.correlation_cpu import CHUNK_EVENTS, run

TABLES = ("events", "lifecycle_states", "hourly_counts", "receipt_parts", "blocks")
TURNS = 10
MERGES = 3.0
"""Seconds at the end, for merges that have begun."""


class Server:
    """One server and what it is given."""

    def __init__(self, folder: Path, *, block: int, settings: Mapping[str, str], table_settings: Sequence[str]) -> None:
        self.block = block
        self._settings = {**INSERT_SETTINGS, **settings}
        self._table_settings = table_settings
        self._server = EmbeddedClickHouse(data=folder)
        self._written = 0
        self._began = 0.0

    async def start(self) -> None:
        await self._server.start()
        connection = ClickHouseConnection(port=self._server.port)
        await migrate(connection)
        self._client = await connect(connection)
        for setting in self._table_settings:
            for table in TABLES:
                await self._client.command(f"alter table {table} modify setting {setting}")
        self._began = self._seconds()

    async def write(self, sections: Mapping[str, bytes], events: int) -> None:
        """Insert what the sink inserts of one block."""
        self._written += events
        done = {"shard": 0, "epoch": "e", "first": 0, "last": self._written, "stamp": self._written, "linked": True}
        for table, lines in (
            ("events", sections[Outbox.EVENTS]),
            ("receipt_parts", sections[Outbox.RECEIPTS]),
            ("blocks", orjson.dumps(done)),
        ):
            token = {"insert_deduplication_token": f"{table}:{self._written}"}
            await self._client.raw_insert(
                table,
                insert_block=bytes(cramjam.zstd.compress(lines, 1)),
                fmt="JSONEachRow",
                settings={**self._settings, **token},
                compression="zstd",
            )

    async def stop(self) -> None:
        await self._client.close()
        await self._server.stop()

    def cost(self) -> float:
        return (self._seconds() - self._began) / self._written * 1e6

    def _seconds(self) -> float:
        times = psutil.Process(self._server.pid).cpu_times()
        return float(times.user + times.system)


def blocks(outbox: Sequence[bytes], size: int) -> Iterator[dict[str, bytes]]:
    """Join the sections of records to blocks of about so many events."""
    records = [decode(value) for value in outbox]
    each = max(1, size // CHUNK_EVENTS)
    for at in range(0, len(records), each):
        yield {
            name: b"".join(bytes(record.section(name)) for record in records[at : at + each])
            for name in (Outbox.EVENTS, Outbox.RECEIPTS)
        }


async def measure(folder: Path, outbox: Sequence[bytes], given: argparse.Namespace) -> None:
    changes = dict(one.split("=", 1) for one in given.setting)
    servers = {
        "as it is": Server(folder / "a", block=given.block, settings={}, table_settings=()),
        "changed": Server(
            folder / "b",
            block=given.changed_block or given.block,
            settings=changes,
            table_settings=given.table_setting,
        ),
    }
    for server in servers.values():
        await server.start()
    try:
        each = -(-len(outbox) // TURNS)
        for turn, at in enumerate(range(0, len(outbox), each)):
            for server in list(servers.values())[:: 1 if turn % 2 else -1]:
                for block in blocks(outbox[at : at + each], server.block):
                    await server.write(block, block[Outbox.EVENTS].count(b"\n"))
        await asyncio.sleep(MERGES)
        for name, server in servers.items():
            print(f"{server.cost():6.2f} µs per event  {name}")
    finally:
        for server in servers.values():
            await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--block", type=int, default=20_000, help="events that are inserted at a time")
    parser.add_argument("--changed-block", type=int, help="the same, of the second server")
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--table-setting", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    outbox = run(given.events // 2, 2)[1:]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), outbox, given))


if __name__ == "__main__":
    main()
