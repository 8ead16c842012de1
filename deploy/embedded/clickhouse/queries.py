"""Running queries: each request's statement on its connection, its rows in, its result out."""

import asyncio
import logging
import re
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import asynccontextmanager
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from deploy.embedded.clickhouse.body import Body
from deploy.embedded.clickhouse.call import Call
from deploy.embedded.clickhouse.engine import Connection, Engine
from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.pipe import pipe
from deploy.embedded.clickhouse.progress import Progress
from deploy.embedded.clickhouse.reply import Reply
from deploy.embedded.clickhouse.sessions import Sessions
from deploy.embedded.clickhouse.statements import (
    Insert,
    InsertSelect,
    Kill,
    Other,
    Select,
    Statement,
    quoted,
    read_statement,
    unquoted,
)

T = TypeVar("T")

_HEAD = 256 * 1024
"""Bytes within which an INSERT must come to its rows; ClickHouse's max_query_size."""

_PIECE = 2**18
"""Bytes of a result that are taken from the engine at a time."""

_FORMAT = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalTable:
    """A temporary table that came with the request."""

    name: str
    structure: str
    format: str
    rows: bytes


class Queries:
    """All queries that run."""

    def __init__(self, engine: Engine, *, at_once: int, max_body: int, temporary: Path) -> None:
        """Describe the limits.

        Args:
            engine: what runs them; it must have a thread for each and some to spare.
            at_once: how many may run at a time.
            max_body: bytes of a statement without rows.
            temporary: folder for rows that must be held.
        """
        self._engine = engine
        self._at_once = at_once
        self._max_body = max_body
        self._temporary = temporary
        self._running: dict[str, str] = {}
        self.sessions = Sessions(engine)

    @property
    def running(self) -> int:
        """How many run."""
        return len(self._running)

    async def run(self, call: Call, body: Body | None, tables: Sequence[ExternalTable], reply: Reply) -> Progress:
        """Run one request's query and write its result into the reply, which the caller ends.

        Raises:
            ClickHouseError: the request or the engine says no.
        """
        with_tag = self._admit(call)
        try:
            text, statement = await self._read(call, body)
            settings = {
                name: value for name, value in call.settings.items() if name != "readonly" or call.session_id is None
            }
            settings["log_comment"] = f"{settings.get('log_comment', '')} {with_tag}".strip()
            async with self.sessions.connection(call, settings) as connection:
                writing = not isinstance(statement, Select) and await self._engine.submit(
                    connection.writes, text if isinstance(statement, Other | Kill) else b"INSERT INTO t SELECT 1"
                )
                if call.read_only and writing:
                    raise ClickHouseError(
                        164, "READONLY", "Cannot execute query in readonly mode: it came by GET, use POST"
                    )
                async with self._external(connection, tables):
                    return await self._dispatch(
                        call, body, text, statement, connection, reply, with_tag, writing=writing
                    )
        finally:
            del self._running[call.query_id]

    def _admit(self, call: Call) -> str:
        if call.query_id in self._running:
            raise ClickHouseError(
                216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", f"Query with id = {call.query_id} is already running."
            )
        if len(self._running) >= self._at_once:
            raise ClickHouseError(
                202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"Too many simultaneous queries. Maximum: {self._at_once}"
            )
        tag = self._running[call.query_id] = secrets.token_hex(8)
        return tag

    async def _read(self, call: Call, body: Body | None) -> tuple[bytes, Statement]:
        text = call.query
        if body is not None:
            text = (text + b"\n" if text else b"") + await body.content(_HEAD)
        statement = read_statement(text)
        if body is not None and not body.ended and not isinstance(statement, Insert | InsertSelect):
            text += await body.content(self._max_body)
            if not body.ended:
                raise ClickHouseError(
                    229, "QUERY_IS_TOO_LARGE", f"The statement is longer than {self._max_body} bytes, and no INSERT"
                )
            statement = read_statement(text)
        return text, statement

    async def _dispatch(
        self,
        call: Call,
        body: Body | None,
        text: bytes,
        statement: Statement,
        connection: Connection,
        reply: Reply,
        tag: str,
        *,
        writing: bool,
    ) -> Progress:
        match statement:
            case Select():
                name = self._describe(reply, statement.format or call.default_format)
                return await self._select(call, statement, name, connection, reply, tag)
            case Insert():
                self._describe(reply, call.default_format)
                return await self._insert(call, body, text, statement, connection)
            case InsertSelect():
                self._describe(reply, call.default_format)
                return await self._insert_select(call, body, text, statement, connection)
            case Kill():
                name = self._describe(reply, call.default_format)
                return await self._small(call, await self._own_ids(statement), name, connection, reply)
            case Other():
                name = self._describe(reply, statement.format or call.default_format)
                progress = await self._small(
                    call, statement.text, name, connection, reply, stop=None if writing else tag
                )
                if statement.keyword == "SET":
                    self.sessions.remember_set(call, statement.text)
                return progress

    def _describe(self, reply: Reply, name: str) -> str:
        """Tell the client what the result is, and give the format's name."""
        name = name or "TabSeparated"
        if not _FORMAT.fullmatch(name):
            raise ClickHouseError(73, "UNKNOWN_FORMAT", f"Unknown format {name}")
        canonical, content_type = self._engine.content_types.get(name.lower(), (name, "text/plain; charset=UTF-8"))
        reply.headers["X-ClickHouse-Format"] = canonical
        reply.headers["Content-Type"] = content_type
        return canonical

    async def _select(
        self, call: Call, statement: Select, name: str, connection: Connection, reply: Reply, tag: str
    ) -> Progress:
        async with pipe() as (reader, writing):
            running = self._engine.submit(
                connection.select_into, writing, statement.before, statement.after, name, call.parameters
            )
            try:
                while piece := await reader.read(_PIECE):
                    await reply.write(piece)
                progress: Progress = await asyncio.shield(running)
            except BaseException:
                await self._stop(running, tag)
                raise
            return progress

    async def _small(
        self, call: Call, text: bytes, name: str, connection: Connection, reply: Reply, *, stop: str | None = None
    ) -> Progress:
        """Run a statement with a small result; ``stop`` is the tag of one to be stopped when its client has gone."""
        running = self._engine.submit(connection.query, text, name, call.parameters)
        try:
            content, progress = await asyncio.shield(running)
        except asyncio.CancelledError:
            if stop is not None:
                await self._stop(running, stop)
            await asyncio.wait([running])
            raise
        await reply.write(content)
        result: Progress = progress
        return result

    async def _insert(
        self, call: Call, body: Body | None, text: bytes, statement: Insert, connection: Connection
    ) -> Progress:
        """Hand over rows as they come; nothing is committed of the last block unless the whole body has arrived."""
        submit = self._engine.submit
        await _whole(submit(connection.begin_insert, statement.text, statement.format, call.parameters))
        try:
            wanted = True
            if rows := text[statement.data_at :]:
                wanted = await _whole(submit(connection.append, rows))
            if wanted and body is not None and not body.ended:
                async for piece in body.rest():
                    wanted = await _whole(submit(lambda raw: connection.append(body.decoding.feed(raw)), piece))
                    if not wanted:
                        break
                else:
                    body.decoding.finish()
            progress: Progress = await _whole(submit(connection.finish_insert))
        except BaseException:
            await _whole(submit(connection.cancel_insert))
            raise
        return progress

    async def _insert_select(
        self, call: Call, body: Body | None, text: bytes, statement: InsertSelect, connection: Connection
    ) -> Progress:
        """Hold the rows in a file and select from that: chDB does not know ``input()``, and would insert nothing."""
        with tempfile.NamedTemporaryFile(dir=self._temporary) as file:
            file.write(text[statement.data_at :])
            if body is not None and not body.ended:
                async for piece in body.rest():
                    content = await asyncio.to_thread(body.decoding.feed, piece)
                    await asyncio.to_thread(file.write, content)
                body.decoding.finish()
            file.flush()
            function = f" file({quoted(file.name)}, {statement.format}, ".encode() + statement.structure + b") "
            sql = statement.before + function + statement.after
            _, progress = await _whole(self._engine.submit(connection.query, sql, "Null", call.parameters))
            result: Progress = progress
            return result

    @asynccontextmanager
    async def _external(self, connection: Connection, tables: Sequence[ExternalTable]) -> AsyncIterator[None]:
        def create(table: ExternalTable) -> None:
            connection.query(f"CREATE TEMPORARY TABLE `{table.name}` ({table.structure})", "Null")
            connection.begin_insert(f"INSERT INTO `{table.name}` ".encode(), table.format, {})
            connection.append(table.rows)
            connection.finish_insert()

        created = []
        try:
            for table in tables:
                await _whole(self._engine.submit(create, table))
                created.append(table)
            yield
        finally:
            for table in created:
                await _whole(self._engine.submit(connection.query, f"DROP TEMPORARY TABLE `{table.name}`", "Null"))

    async def _own_ids(self, statement: Kill) -> bytes:
        """Write the engine's ids for the clients' own, which the engine does not know."""
        pieces = list(statement.pieces)
        for number in range(1, len(pieces), 2):
            tag = self._running.get(unquoted(pieces[number]))
            if tag is not None and (known := await self._engine.engine_id(tag)) is not None:
                pieces[number] = quoted(known).encode()
        return b"".join(pieces)

    async def _stop(self, running: "asyncio.Future[T]", tag: str) -> None:
        """Stop a query whose result nobody takes any more, and wait until it has stopped."""
        if not running.done():
            await _whole(asyncio.ensure_future(self._engine.kill_until(running, tag)))
        if not running.cancelled():
            running.exception()  # seen


async def _whole(work: "asyncio.Future[T]") -> T:
    """Wait for work on a connection, even when cancelled meanwhile: nothing else may use the connection before its end."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
