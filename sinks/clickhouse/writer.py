"""Blocks into ClickHouse tables, each once.

Every insert carries a deduplication token that is made of the table and the block's name. ClickHouse remembers the last
ten thousand tokens of a table and drops an insert that it has seen, in the table and in what its materialized views
write; where an insert was interrupted, what had not been written is added. That holds as long as one insert is cut into
parts in the same way each time, hence the settings below.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import cramjam
from clickhouse_connect.driver import AsyncClient

from sinks.block import Block
from sinks.breaker import NOTHING, Limits, Tally
from sinks.clickhouse import migrations
from sinks.clickhouse.connection import connect
from sinks.clickhouse.failures import translated
from sinks.clickhouse.refusals import Decisions
from sinks.clickhouse.sieve import Shard, Sieve
from sinks.clickhouse.targets import TARGETS, Target
from sinks.errors import UnreachableError
from sinks.position import Bounds, Position
from sinks.settings import ClickHouseConnection
from sinks.writer import Stored
from streams.contracts.clock import Clock, SystemClock, rfc3339
from streams.contracts.zstd import zstd

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

SETTINGS_OF_LATER_SERVERS: Mapping[str, Any] = {
    # Takes the place of insert_deduplicate since ClickHouse 26.2; a profile may have turned it off.
    "deduplicate_insert": "enable",
}
"""More of them, for a server that knows them: another one would refuse the insert."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

GENERATION = "select generation, max(ready) from generations group by generation order by generation desc limit 1"
LAST_BLOCK = """
    select last, epoch, stamp, linked, toUnixTimestamp64Micro(written_at), refused_run, latest_rows, latest_refused
    from blocks final
    where shard = {shard:UInt32}
"""
REACHED = "select epoch, max(stamp) from reached where shard = {shard:UInt32} group by epoch"


class ClickHouseWriter:
    """A `sinks.writer.BlockWriter`."""

    def __init__(
        self,
        *,
        connection: ClickHouseConnection,
        compression: Literal["none", "lz4", "zstd"] = "zstd",
        limits: Limits = NOTHING,
        inbox: str = "inbox",
        put_aside: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        """Prepare the writer.

        Args:
            connection: where the tables are.
            compression: of the rows on their way.
            limits: on the rows that are put aside because ClickHouse refuses them.
            inbox: the topic that is named as the origin of such rows.
            put_aside: is called for each of them.
            clock: the system's unless a test brings its own.
        """
        self._connection = connection
        self._compression = compression
        self._limits = limits
        self._inbox = inbox
        self._put_aside = put_aside
        self._clock = clock or SystemClock()
        self._client: AsyncClient | None = None
        self._shards: dict[int, Shard] = {}

    async def prepare(self) -> None:
        """Connect and check the schema."""
        state = await migrations.check(self._connection)
        state.require(self._connection.database)
        await self._connected()

    async def open(self, partition: int) -> Stored:
        """Read which generation the tables are, how far they are, and what was decided since.

        Raises:
            UnreachableError: ClickHouse does not answer, or the tables are being made anew.
        """
        client = await self._connected()
        with translated(self._connection):
            generations = (await client.query(GENERATION)).result_rows
            blocks = (await client.query(LAST_BLOCK, parameters={"shard": partition})).result_rows
            rows = (await client.query(REACHED, parameters={"shard": partition})).result_rows
            reached = {str(epoch): int(stamp) for epoch, stamp in rows}
            position, tally, latest = None, Tally(), 0
            if blocks:
                last, epoch, stamp, linked, latest, *counts = blocks[0]
                # An older row may stand last, as earlier versions let it where the server's clock was set back. It was
                # gone on from there, so what the epoch has reached since continues it.
                further = max(stamp, reached.get(epoch, stamp))
                position = Position(offset=last + 1, epoch=epoch, stamp=further, linked=linked or further > stamp)
                tally = Tally(*counts)
            done = position or Position(offset=0, epoch="")
            decided = await client.query(
                Decisions.QUERY, parameters={"shard": partition, "epoch": done.epoch, "last": done.offset - 1}
            )
        generation, ready = generations[0] if generations else (0, True)
        if not ready:
            raise UnreachableError(
                f"the tables of {self._connection.database} are being made anew; if `todoke rebuild` was interrupted,"
                " run it again"
            )
        self._shards[partition] = Shard(generation, Decisions(partition, decided.result_rows), tally, latest)
        return Stored(generation=generation, position=position, reached=reached)

    async def write(self, block: Block) -> None:
        """Insert the sections of a block, and last of all that it is there."""
        shard = self._shard(block.partition)
        tally = replace(shard.tally)
        for target in TARGETS:
            lines = block.section(target.section)
            if lines:
                await self._sieve(block, shard, tally).store(target, lines)
        # Of two rows the later one stays. So the time never goes back, whatever a clock does: that of a server, of this
        # machine or of another one.
        shard.latest = max(_microseconds(self._clock.now()), shard.latest + 1)
        done = {
            "shard": block.partition,
            "epoch": block.epoch,
            "first": block.bounds.first,
            "last": block.bounds.last,
            "stamp": block.after.stamp,
            "linked": block.after.linked,
            "written_at": (EPOCH + timedelta(microseconds=shard.latest)).isoformat(timespec="microseconds"),
            "refused_run": tally.run,
            "latest_rows": tally.rows,
            "latest_refused": tally.refused,
        }
        await self._insert("blocks", json.dumps(done).encode(), shard.name(block))
        shard.tally = tally
        shard.decisions.forget(block)

    async def report(self, partition: int, hole: Bounds) -> None:
        """Insert the hole."""
        loss = {
            "topic": "outbox",
            "shard": partition,
            "first": hole.first,
            "last": hole.last,
            "found_at": rfc3339(self._clock.now()),
        }
        name = f"outbox:{partition}:{hole.first}-{hole.last}{self._shard(partition).suffix}"
        await self._insert("losses", json.dumps(loss).encode(), name)

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _shard(self, partition: int) -> Shard:
        return self._shards.setdefault(partition, Shard(0, Decisions(partition), Tally(), 0))

    def _sieve(self, block: Block, shard: Shard, tally: Tally) -> Sieve:
        return Sieve(
            block=block,
            shard=shard,
            tally=tally,
            limits=self._limits,
            inbox=self._inbox,
            clock=self._clock,
            insert=self._insert,
            is_there=self._is_there,
            put_aside=self._put_aside,
        )

    async def _is_there(self, target: Target, line: Mapping[str, Any]) -> bool:
        """Tell whether a line is in the table."""
        client = await self._connected()
        with translated(self._connection):
            found = await client.query(
                f"select count() from {target.table} where {target.condition()}",  # noqa: S608 - constants
                parameters=dict(line),
            )
        return bool(found.result_rows[0][0])

    async def _connected(self) -> AsyncClient:
        if self._client is None:
            self._client = await connect(self._connection)
        return self._client

    async def _insert(self, table: str, lines: bytes, name: str, columns: Sequence[str] | None = None) -> None:
        client = await self._connected()
        later = {name: value for name, value in SETTINGS_OF_LATER_SERVERS.items() if name in client.server_settings}
        body, encoding = await self._compressed(lines)
        with translated(self._connection):
            await client.raw_insert(
                table,
                column_names=columns,
                insert_block=body,
                fmt="JSONEachRow",
                settings={**INSERT_SETTINGS, **later, "insert_deduplication_token": f"{table}:{name}"},
                compression=encoding,
            )

    async def _compressed(self, lines: bytes) -> tuple[bytes, str | None]:
        match self._compression:
            case "none":
                return lines, None
            case "lz4":
                return bytes(await asyncio.to_thread(cramjam.lz4.compress, lines, 0)), "lz4"
            case "zstd":
                return await asyncio.to_thread(zstd.compress, lines, 1), "zstd"


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
