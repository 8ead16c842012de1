"""One query, from its statement to the last byte of its result."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from deploy.embedded.clickhouse.body import Body, Decoding
from deploy.embedded.clickhouse.call import Call
from deploy.embedded.clickhouse.engine import Connection, Engine
from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.pipe import pipe
from deploy.embedded.clickhouse.progress import Progress
from deploy.embedded.clickhouse.reply import Reply
from deploy.embedded.clickhouse.statements import Insert, Select, WithRows

T = TypeVar("T")

_PIECE = 2**18  # bytes of a result that are taken from the engine at a time
_FORMAT = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalTable:
    """A temporary table that comes with a request."""

    name: str
    structure: str
    """Its columns, as in CREATE TABLE."""

    format: str
    rows: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What a query runs with."""

    engine: Engine
    connection: Connection
    call: Call
    body: Body | None
    """What follows the statement; None if nothing can."""

    reply: Reply
    tag: str
    """By what the engine finds it."""

    @property
    def _token(self) -> str:
        return self.call.settings.get("insert_deduplication_token", "")

    def output_format(self, named: str | None = None) -> str:
        """Choose the result's format, and tell the client.

        Args:
            named: the format that the statement names.

        Raises:
            ClickHouseError: what the client asks for cannot be a format.
        """
        name = named or self.call.default_format or "TabSeparated"
        if not _FORMAT.fullmatch(name):
            raise ClickHouseError(73, "UNKNOWN_FORMAT", f"Unknown format {name}")
        canonical, content_type = self.engine.content_types.get(name.lower(), (name, "text/plain; charset=UTF-8"))
        self.reply.headers["X-ClickHouse-Format"] = canonical
        self.reply.headers["Content-Type"] = content_type
        return canonical

    async def select(self, statement: Select) -> Progress:
        """Stream a result of any size; the query is stopped when its client has gone."""
        name = self.output_format(statement.format)
        running: asyncio.Future[Progress] | None = None
        try:
            async with pipe() as (reader, writing):
                running = self.engine.submit(
                    self.connection.select_into, writing, statement, name, self.call.parameters
                )
                while piece := await reader.read(_PIECE):
                    await self.reply.write(piece)
            return await asyncio.shield(running)
        except BaseException:
            # The pipe is closed by now, so that the engine, which may wait for room in it, can be told.
            if running is not None:
                await self._stop(running)
            raise

    async def small(
        self, text: bytes, named: str | None = None, *, stoppable: bool = False, inserts: bool = False
    ) -> Progress:
        """Run a statement with a small result.

        Args:
            text: the statement.
            named: the format that it names.
            stoppable: it changes nothing, so it is stopped when its client has gone.
            inserts: it is an INSERT, as of a SELECT.
        """
        name = self.output_format(named)
        work = partial(self.connection.insert, token=self._token) if inserts else self.connection.query
        running: asyncio.Future[tuple[bytes, Progress]] = self.engine.submit(work, text, name, self.call.parameters)
        try:
            content, progress = await asyncio.shield(running)
        except asyncio.CancelledError:
            if stoppable:
                await self._stop(running)
            await _end_of(running)
            raise
        await self.reply.write(content)
        return progress

    async def insert(self, statement: WithRows) -> Progress:
        """Take the rows as they come; nothing of them is inserted unless the whole body has arrived."""
        self.output_format()
        return await self._write_rows(statement, self.body)

    @contextlib.asynccontextmanager
    async def external(self, tables: Sequence[ExternalTable]) -> AsyncIterator[None]:
        """Have temporary tables for a while."""
        created = []
        try:
            for table in tables:
                await self._blocking(
                    self.connection.query, f"CREATE TEMPORARY TABLE `{table.name}` ({table.structure})", "Null"
                )
                created.append(table.name)
                text = f"INSERT INTO `{table.name}`".encode()
                await self._write_rows(Insert(text=text, format=table.format, rows=table.rows), body=None)
            yield
        finally:
            for name in created:
                await self._blocking(self.connection.query, f"DROP TEMPORARY TABLE `{name}`", "Null")

    async def _write_rows(self, insert: WithRows, body: Body | None) -> Progress:
        """Run an INSERT.

        Args:
            insert: with the beginning of its rows.
            body: where they go on.
        """
        connection = self.connection
        await self._blocking(connection.begin_insert, insert, self.call.parameters)
        try:
            await self._blocking(connection.append, insert.rows)
            if body is not None:
                async for piece in body.rest():
                    await self._blocking(_decode_into, connection, body.decoding, piece)
                body.decoding.finish()
            return await self._blocking(connection.finish_insert, self._token)
        except BaseException:
            await self._blocking(connection.cancel_insert)
            raise

    async def _stop(self, running: "asyncio.Future[T]") -> None:
        """Stop a query whose result nobody takes any more, and wait until it has stopped."""
        running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # seen, whatever becomes of us
        if not running.done():
            await _to_its_end(asyncio.ensure_future(self.engine.kill_until_done(running, self.tag)))

    async def _blocking(self, work: Callable[..., T], *arguments: object) -> T:
        return await _to_its_end(self.engine.submit(work, *arguments))


def _decode_into(connection: Connection, decoding: Decoding, piece: bytes) -> None:
    """Do both in one thread, and in one change to it."""
    for rows in decoding.feed(piece):
        connection.append(rows)


async def _to_its_end(work: "asyncio.Future[T]") -> T:
    """Wait for work on a connection, even when cancelled meanwhile: nothing else may use the connection before."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await _end_of(work)
        raise


async def _end_of(work: "asyncio.Future[Any]") -> None:
    """Wait for work, however often cancelled meanwhile: its client may go while the server stops."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([work])
