"""Blocks into ClickHouse tables, each once.

Every insert carries a deduplication token that is made of the table and the block's name. ClickHouse remembers the last
ten thousand tokens of a table and drops an insert that it has seen, in the table and in what its materialized views
write; where an insert was interrupted, what had not been written is added. That holds as long as one insert is cut into
parts in the same way each time, hence the settings below.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cramjam
from clickhouse_connect.driver import AsyncClient

from sinks.block import Block
from sinks.clickhouse import migrations
from sinks.clickhouse.connection import connect
from sinks.clickhouse.failures import translated
from sinks.position import Bounds, Position
from sinks.settings import ClickHouseConnection
from streams.contracts.clock import Clock, SystemClock, rfc3339
from streams.contracts.sections import Outbox

INSERT_SETTINGS: Mapping[str, Any] = {
    # The token counts for what the materialized views write, too.
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # An insert is one block, parsed by one thread in the order of its lines, whatever the server's own settings are.
    "async_insert": 0,
    "input_format_parallel_parsing": 0,
    "max_insert_threads": 1,
    "max_insert_block_size": 16_777_216,
    "min_insert_block_size_rows": 16_777_216,
    "min_insert_block_size_bytes": 2_147_483_648,
    "group_by_two_level_threshold": 0,
    "group_by_two_level_threshold_bytes": 0,
    # Times have the form of RFC 3339; later versions may add fields.
    "date_time_input_format": "best_effort",
    "date_time_overflow_behavior": "saturate",
    "input_format_skip_unknown_fields": 1,
    "input_format_json_throw_on_bad_escape_sequence": 0,
    # Tuples come as arrays, whatever their elements are called.
    "input_format_json_named_tuples_as_objects": 0,
    "max_partitions_per_insert_block": 0,
    # The answer comes when everything is written.
    "wait_end_of_query": 1,
}


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the lines of a section go."""

    section: str
    table: str
    columns: Sequence[str] | None = None


TARGETS = (
    _Target(Outbox.EVENTS, "events"),
    _Target(Outbox.RECEIPTS, "receipt_parts"),
    _Target(Outbox.ANSWERED, "answered_posts"),
    _Target(
        Outbox.DEAD_LETTERS,
        "dead_letters",
        (
            *("receipt", "number", "part", "parts", "source", "reason", "detail", "topic", "partition", "offset"),
            *("version", "received_at", "raw_base64"),
        ),
    ),
    _Target(Outbox.LOSSES, "losses"),
)
"""In the order in which they are written. Lifecycles, suppressions and statistics are made of the events."""


class ClickHouseWriter:
    """A `sinks.writer.BlockWriter`."""

    def __init__(
        self,
        *,
        connection: ClickHouseConnection,
        compression: Literal["none", "lz4", "zstd"] = "none",
        clock: Clock | None = None,
    ) -> None:
        self._connection = connection
        self._compression = compression
        self._clock = clock or SystemClock()
        self._client: AsyncClient | None = None

    async def prepare(self) -> None:
        """Connect and check the schema."""
        state = await migrations.check(self._connection)
        state.require(self._connection.database)
        await self._connected()

    async def write(self, block: Block) -> None:
        """Insert the sections of a block, and last of all that it is there."""
        for target in TARGETS:
            lines = block.section(target.section)
            if lines:
                await self._insert(target.table, lines, block.name, target.columns)
        done = {
            "shard": block.partition,
            "epoch": block.epoch,
            "first": block.bounds.first,
            "last": block.bounds.last,
            "stamp": block.after.stamp,
            "linked": block.after.linked,
        }
        await self._insert("blocks", json.dumps(done).encode(), block.name)

    async def report(self, partition: int, hole: Bounds) -> None:
        """Insert the hole."""
        loss = {
            "topic": "outbox",
            "shard": partition,
            "first": hole.first,
            "last": hole.last,
            "found_at": rfc3339(self._clock.now()),
        }
        await self._insert("losses", json.dumps(loss).encode(), f"outbox:{partition}:{hole.first}-{hole.last}")

    async def position(self, partition: int) -> Position | None:
        """Read the last row of the shard in ``blocks``."""
        client = await self._connected()
        with translated(self._connection):
            result = await client.query(
                "select last, epoch, stamp, linked from blocks final where shard = {shard:UInt32}",
                parameters={"shard": partition},
            )
        for last, epoch, stamp, linked in result.result_rows:
            return Position(offset=last + 1, epoch=epoch, stamp=stamp, linked=linked)
        return None

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connected(self) -> AsyncClient:
        if self._client is None:
            self._client = await connect(self._connection)
        return self._client

    async def _insert(self, table: str, lines: bytes, name: str, columns: Sequence[str] | None = None) -> None:
        client = await self._connected()
        body, encoding = await self._compressed(lines)
        with translated(self._connection):
            await client.raw_insert(
                table,
                column_names=columns,
                insert_block=body,
                fmt="JSONEachRow",
                settings={**INSERT_SETTINGS, "insert_deduplication_token": f"{table}:{name}"},
                compression=encoding,
            )

    async def _compressed(self, lines: bytes) -> tuple[bytes, str | None]:
        match self._compression:
            case "none":
                return lines, None
            case "lz4":
                return bytes(await asyncio.to_thread(cramjam.lz4.compress, lines)), "lz4"
            case "zstd":
                return bytes(await asyncio.to_thread(cramjam.zstd.compress, lines, 1)), "zstd"
