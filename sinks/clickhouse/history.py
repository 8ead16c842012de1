"""History out of ClickHouse, for a worker whose log was lost: `streams.archive.Archive`."""

import json
from collections.abc import AsyncIterator, Collection
from typing import Any

from sinks.clickhouse.connection import connect
from sinks.clickhouse.failures import translated
from sinks.errors import UnreachableError
from sinks.settings import ClickHouseConnection
from streams.contracts.events import SUPPRESSION_TYPES, Event
from streams.contracts.topics import CHUNK_LIMIT

COLUMNS = ", ".join(Event.__annotations__)

OF_SHARD = """
    CRC32(concat(
        source, '\\x1f', if(type in {addressed:Array(String)} or message_id = '', recipient, message_id)
    )) % {shards:UInt32} = {shard:UInt32}
"""
"""`streams.contracts.sharding.shard`, in ClickHouse's words."""

# A lifecycle is known by a hash of its name, since the names of all that were open at one time may be many gigabytes.
# Two with the same hash bring some events more than needed.
NEEDED = f"""
    from events
    where ({OF_SHARD}) and (
        received_at >= parseDateTime64BestEffort({{since:String}}, 3, 'UTC')
        or type in {{addressed:Array(String)}}
        or message_id != '' and cityHash64(source, message_id, recipient) in (
            select cityHash64(source, message_id, recipient) from events
            where message_id != '' and received_at >= parseDateTime64BestEffort({{since:String}}, 3, 'UTC')
              and ({OF_SHARD})
        )
    )
"""  # noqa: S608 - made of constants

# As far as the epoch of the last block is known to have come, since an older row may stand for the last block: see
# `sinks.clickhouse.writer`. Epochs of before that was noted are in `blocks` alone.
ANSWERED = """
    with last as (select epoch, stamp from blocks final where shard = {shard:UInt32})
    select max(stamp) as stamp
    from (
        select stamp from last
        union all
        select stamp from reached where shard = {shard:UInt32} and epoch in (select epoch from last)
    )
    having count()
"""

ROW = b'{"id":'
"""How the line of an event begins; what a server says that breaks off in the middle does not."""

STREAMED = {"date_time_output_format": "iso", "output_format_json_escape_forward_slashes": 0}


class ClickHouseHistory:
    """The tables that the ClickHouse sink fills, read back."""

    def __init__(self, connection: ClickHouseConnection) -> None:
        self._connection = connection

    async def newest(self, shard: int, shards: int) -> str | None:
        """Ask for the latest ``received_at``."""
        rows = await self._ask(
            f"select max(received_at) as newest from events where {OF_SHARD} having count()",  # noqa: S608 - a constant
            _place(shard, shards),
        )
        return rows[0]["newest"] if rows else None

    async def history(self, shard: int, shards: int, since: str) -> AsyncIterator[bytes]:
        """Stream the events, in the order of the table, so that ClickHouse need not sort them."""
        parameters = {**_place(shard, shards), "since": since}
        # A stream that breaks off looks like one that ended, so the rows are counted first.
        [expected] = await self._ask(f"select count() as rows {NEEDED}", parameters)
        given = 0
        query = f"select {COLUMNS} {NEEDED} order by occurred_at, id"
        async for block in self._stream(query, parameters):
            given += block.startswith(ROW) + block.count(b"\n" + ROW)
            yield block
        if given < int(expected["rows"]):
            raise UnreachableError(
                f"ClickHouse at {self._connection.host}:{self._connection.port} gave {given} of {expected['rows']} "
                "events of the history and broke off"
            )

    async def answered(self, shard: int) -> int | None:
        """Ask for the stamp of the last block."""
        rows = await self._ask(ANSWERED, {"shard": shard})
        return int(rows[0]["stamp"]) if rows else None

    async def knows_receipts(self, receipts: Collection[str]) -> bool:
        """Look for the receipts."""
        rows = await self._ask(
            "select 1 from receipt_parts where receipt in {receipts:Array(String)} limit 1",
            {"receipts": sorted(receipts)},
        )
        return bool(rows)

    async def _ask(self, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        with translated(self._connection):
            client = await connect(self._connection)
            try:
                answer = await client.raw_query(query, parameters=parameters, settings=STREAMED, fmt="JSONEachRow")
                return [json.loads(line) for line in answer.splitlines()]
            finally:
                await client.close()

    async def _stream(self, query: str, parameters: dict[str, Any]) -> AsyncIterator[bytes]:
        """Give an answer as whole lines, about a chunk at a time."""
        with translated(self._connection):
            client = await connect(self._connection)
            try:
                stream = await client.raw_stream(query, parameters=parameters, settings=STREAMED, fmt="JSONEachRow")
                async with stream:
                    pieces: list[bytes] = []
                    size = 0
                    async for piece in stream:
                        pieces.append(piece)
                        size += len(piece)
                        if size >= CHUNK_LIMIT and b"\n" in piece:
                            lines, _, rest = b"".join(pieces).rpartition(b"\n")
                            pieces, size = [rest], len(rest)
                            yield lines + b"\n"
                    if last := b"".join(pieces):
                        yield last
            finally:
                await client.close()


def _place(shard: int, shards: int) -> dict[str, Any]:
    return {"shard": shard, "shards": shards, "addressed": sorted(SUPPRESSION_TYPES)}
