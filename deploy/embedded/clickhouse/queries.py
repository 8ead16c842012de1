"""All queries that run: who may begin, what each statement needs, and which one is meant by an id."""

import contextlib
import secrets
from collections.abc import Iterator, Sequence

from deploy.embedded.clickhouse.body import Body
from deploy.embedded.clickhouse.call import Call
from deploy.embedded.clickhouse.engine import Engine
from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.progress import Progress
from deploy.embedded.clickhouse.reply import Reply
from deploy.embedded.clickhouse.run import ExternalTable, Run
from deploy.embedded.clickhouse.sessions import Sessions
from deploy.embedded.clickhouse.statements import (
    Insert,
    InsertSelect,
    Kill,
    Other,
    Select,
    Statement,
    WithRows,
    quoted,
    read_statement,
    takes_rows,
    unquoted,
)

_HEAD = 256 * 1024
"""Bytes within which an INSERT must come to its rows; ClickHouse's max_query_size."""


class Queries:
    """Runs each request's query."""

    def __init__(self, engine: Engine, *, at_once: int, max_body: int) -> None:
        """Describe the limits.

        Args:
            engine: what runs them; it must have a thread for each and some to spare.
            at_once: how many may run at a time.
            max_body: bytes of a statement without rows.
        """
        self._engine = engine
        self._at_once = at_once
        self._max_body = max_body
        self._tags: dict[str, str] = {}
        self.sessions = Sessions(engine)

    async def run(self, call: Call, body: Body | None, tables: Sequence[ExternalTable], reply: Reply) -> Progress:
        """Run one request's query and write its result into the reply, which the caller ends.

        Raises:
            ClickHouseError: the request or the engine says no.
        """
        with self._admitted(call) as tag:
            text, statement = await self._read(call, body)
            settings = dict(call.settings)
            # The engine does not take ids from outside; it finds a query by the end of this setting.
            settings["log_comment"] = f"{settings.get('log_comment', '')} {tag}".strip()
            async with self.sessions.connection(call, settings) as connection:
                writes = isinstance(statement, WithRows) or connection.writes(text)
                if isinstance(statement, Select) and writes:
                    statement = Other(text=text, keyword="INSERT", format=None)
                if isinstance(statement, Other) and statement.keyword == "INSERT" and takes_rows(statement.text):
                    raise ClickHouseError(
                        48,
                        "NOT_IMPLEMENTED",
                        "Rows are taken by INSERT ... SELECT ... FROM input('column type, ...') FORMAT ... alone",
                    )
                if call.read_only and writes and not (isinstance(statement, Other) and statement.keyword in _HARMLESS):
                    raise ClickHouseError(
                        164,
                        "READONLY",
                        "Cannot execute query in readonly mode: it came by GET, use POST to change data",
                    )
                run = Run(
                    engine=self._engine,
                    connection=connection,
                    call=call,
                    body=None if body is None or body.ended else body,
                    reply=reply,
                    tag=tag,
                )
                async with run.external(tables):
                    progress = await self._run(run, statement, writes=writes)
                if isinstance(statement, Other) and statement.keyword == "SET":
                    self.sessions.remember(call, statement.text)
                return progress

    @contextlib.contextmanager
    def _admitted(self, call: Call) -> Iterator[str]:
        """Let a query in, and give the tag by which the engine will find it."""
        if call.query_id in self._tags:
            raise ClickHouseError(
                216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", f"Query with id = {call.query_id} is already running."
            )
        if len(self._tags) >= self._at_once:
            raise ClickHouseError(
                202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"Too many simultaneous queries. Maximum: {self._at_once}"
            )
        tag = self._tags[call.query_id] = secrets.token_hex(8)
        try:
            yield tag
        finally:
            del self._tags[call.query_id]

    async def _read(self, call: Call, body: Body | None) -> tuple[bytes, Statement]:
        """Read the statement; of an INSERT only its beginning, the rows are streamed."""
        text = call.query
        if body is not None:
            text = text + b"\n" if text else b""
            with contextlib.suppress(ClickHouseError):  # the statement goes on in the body, or fails again below
                statement = read_statement(text)
                if isinstance(statement, WithRows):
                    return text, statement
            text += await body.content(_HEAD)
        statement = read_statement(text)
        if body is not None and not body.ended and not isinstance(statement, WithRows):
            text += await body.content(self._max_body)
            if not body.ended:
                raise ClickHouseError(
                    229, "QUERY_IS_TOO_LARGE", f"The statement is longer than {self._max_body} bytes, and no INSERT"
                )
            statement = read_statement(text)
        return text, statement

    async def _run(self, run: Run, statement: Statement, *, writes: bool) -> Progress:
        match statement:
            case Select():
                return await run.select(statement)
            case Insert() | InsertSelect():
                return await run.insert(statement)
            case Kill():
                return await run.small(await self._engine_ids(statement))
            case Other():
                try:
                    inserts = statement.keyword == "INSERT"
                    return await run.small(statement.text, statement.format, stoppable=not writes, inserts=inserts)
                finally:
                    if statement.keyword in _MAKES_TABLES or (writes and b"deduplication_window" in statement.text):
                        await self._engine.find_new_logs()

    async def _engine_ids(self, statement: Kill) -> bytes:
        """Put the engine's ids for the clients' own, which the engine does not know."""
        pieces = list(statement.pieces)
        for number in range(1, len(pieces), 2):
            tag = self._tags.get(unquoted(pieces[number]))
            if tag is not None and (known := await self._engine.engine_id(tag)) is not None:
                pieces[number] = quoted(known).encode()
        return b"".join(pieces)


_MAKES_TABLES = frozenset({"CREATE", "REPLACE", "ATTACH", "UNDROP", "RESTORE"})
_HARMLESS = frozenset({"SET", "USE"})
"""What ClickHouse allows in readonly mode 2, though it is no query."""
