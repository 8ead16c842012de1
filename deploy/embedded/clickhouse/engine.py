"""ClickHouse's engine in this process (chDB), and connections to it.

What is known of chDB 4.4 and used here: any number of connections to one path may be open in a process, each with its
own database, settings and temporary tables; opening one takes 0.1 ms; queries of different connections run at the same
time and release Python's lock; one connection serves one query at a time. Every call blocks, so each is made in a
thread.
"""

import asyncio
import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from deploy.embedded.clickhouse.configuration import write_configuration, write_first_configuration
from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.progress import Progress
from deploy.embedded.clickhouse.spool import Spool
from deploy.embedded.clickhouse.statements import Select, WithRows, quoted
from deploy.embedded.clickhouse.synchronous import can_write_through
from deploy.embedded.clickhouse.tokens import Begun, Logs, take_back_orphans
from deploy.embedded.errors import EmbeddedServerError
from deploy.exit import Exit

logger = logging.getLogger(__name__)

T = TypeVar("T")

_KILL_PAUSE = 0.05  # seconds between two attempts to stop a query that has not begun yet

_SERVER_DEFAULTS = {
    # chDB comes with the default of clickhouse-local; this is a server's.
    "implicit_select": "0",
    # Rows that follow a statement are read from a file whose name was that of other rows a moment ago.
    "use_cache_for_count_from_files": "0",
}


class Engine:
    """The engine on one folder; there can be one in a process."""

    def __init__(self, path: Path, *, threads: int, max_memory: int) -> None:
        """Describe the engine; nothing happens before ``open``.

        Args:
            path: the data folder.
            threads: how many queries run at a time.
            max_memory: bytes it may use; 0 leaves it to the engine.
        """
        self._path = path
        self._max_memory = max_memory
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="query")
        self._keeper_thread = ThreadPoolExecutor(1, thread_name_prefix="keeper")
        self._keeper: Any = None
        self._logs = Logs(path, self._parts_held)
        self.version = ""
        self.timezone = ""
        self.content_types: Mapping[str, tuple[str, str]] = {}
        """Canonical name and content type of each output format, by its name in lower case."""

    def installed(self) -> str:
        """Tell the version of the engine that is installed. Loads it."""
        import chdb  # noqa: PLC0415 - as below

        return str(chdb.engine_version)

    async def open(self) -> None:
        """Start the engine and look at what it is.

        Raises:
            EmbeddedServerError: it cannot work on the folder.
        """
        await asyncio.wrap_future(self._keeper_thread.submit(self._open))

    async def close(self) -> None:
        """End the engine. All connections must be closed before."""
        await asyncio.wrap_future(self._keeper_thread.submit(self._close))
        self._keeper_thread.shutdown()
        self._threads.shutdown()

    def submit(self, work: Callable[..., T], *arguments: object) -> "asyncio.Future[T]":
        """Run blocking work in a thread."""
        return asyncio.wrap_future(self._threads.submit(work, *arguments))

    def connect(self) -> "Connection":
        """Open a connection. Blocks for a fraction of a millisecond."""
        return Connection(self._chdb().connect(str(self._path)), self._path.parent, self._logs)

    async def find_new_logs(self) -> None:
        """Watch over the tokens of tables, too, that may have been made just now: see `tokens`."""
        await self.submit(self._logs.find)

    async def kill_until_done(self, running: "asyncio.Future[Any]", tag: str) -> None:
        """Stop the query with a tag, again and again until it is done: it may not have begun yet."""
        while not running.done():
            await asyncio.wrap_future(self._keeper_thread.submit(self._kill, tag))
            await asyncio.wait([running], timeout=_KILL_PAUSE)

    async def engine_id(self, tag: str) -> str | None:
        """Tell by which id the engine knows the query with a tag, while it runs."""
        sql = f"SELECT query_id FROM system.processes WHERE {_tagged(tag)}"  # noqa: S608 - the tag is drawn here
        found = await asyncio.wrap_future(self._keeper_thread.submit(self._ask, sql))
        return found.strip() or None

    def _open(self) -> None:
        if set("?&") & set(str(self._path)):
            raise EmbeddedServerError(
                f"ClickHouse's engine cannot work in the folder {self._path}, for its name has a '?' or '&'. "
                "Choose another data folder."
            )
        self._path.mkdir(parents=True, exist_ok=True)
        try:
            take_back_orphans(self._path)
            if not (self._path / "metadata" / "default.sql").exists():
                self._make_default_database()
            self._keeper = self._start(write_configuration(self._path.parent, max_memory=self._max_memory))
        except RuntimeError as error:
            raise EmbeddedServerError(
                f"ClickHouse's engine cannot open the folder {self._path}: {error}. The lines above say more. "
                "Restore the folder from a backup, or choose another one."
            ) from error
        except OSError as error:
            raise EmbeddedServerError(
                f"ClickHouse's engine cannot open the folder {self._path}: {error}."
                + (" Make room on that disk." if error.errno in {errno.ENOSPC, errno.EDQUOT} else "")
            ) from error
        self._logs.find()
        if not can_write_through(self._path.parent):
            logger.warning(
                "The file system of %s cannot write single files through: after a loss of power a block that was under "
                "way may count twice. ext4 and XFS can",
                self._path,
            )
        self.version = self._ask("SELECT version()").strip()
        self.timezone = self._ask("SELECT timezone()").strip()
        formats = self._ask("SELECT name, content_type FROM system.formats WHERE is_output")
        self.content_types = {
            name.lower(): (name, content_type)
            for name, content_type in (line.split("\t") for line in formats.splitlines())
        }

    def _start(self, configuration: Path) -> Any:
        return self._chdb().connect(f"{self._path}?config-file={configuration}")

    def _make_default_database(self) -> None:
        self._keeper = self._start(write_first_configuration(self._path.parent))
        try:
            if self._ask("SELECT count() FROM system.tables WHERE database = 'default'").strip() != "0":
                raise EmbeddedServerError(
                    f"The database 'default' in {self._path} was made by chDB itself, not by todoke. "
                    "Choose another data folder."
                )
            self._ask("DROP DATABASE default")
            self._ask("CREATE DATABASE default ENGINE = Atomic")
        finally:
            self._close()

    def _close(self) -> None:
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def _parts_held(self, names: Collection[str]) -> Collection[tuple[str, str]]:
        connection = self._chdb().connect(str(self._path))
        try:
            sql = f"SELECT path FROM system.parts WHERE name IN ({', '.join(map(quoted, names))})"  # noqa: S608
            paths = bytes(connection.query(sql, "TSVRaw").bytes()).decode().splitlines()
        finally:
            connection.close()
        return {(path.parent.name, path.name) for path in map(Path, paths)}

    def _kill(self, tag: str) -> None:
        if self._keeper is not None:
            self._ask(f"KILL QUERY WHERE {_tagged(tag)} ASYNC")

    def _ask(self, sql: str) -> str:
        return bytes(self._keeper.query(sql, "TSVRaw").bytes()).decode()

    @staticmethod
    def _chdb() -> Any:
        from chdb import _chdb  # noqa: PLC0415 - 550 MB of engine are for the one process that needs them

        return _chdb


def claim_signals() -> None:
    """Take from chDB the handlers for signals that it installs when it is loaded.

    A crash of the engine would otherwise keep the process for minutes, dead but listening.
    """
    chdb = Engine._chdb()  # noqa: SLF001 - this module's own
    chdb.reset_signal_handlers()
    chdb.set_signal_handlers_enabled(0)


def _tagged(tag: str) -> str:
    return f"endsWith(Settings['log_comment'], {quoted(tag)})"


class Connection:
    """One connection to the engine. All methods block; one at a time."""

    def __init__(self, connection: Any, folder: Path, logs: Logs) -> None:
        self._connection = connection
        self._folder = folder
        self._logs = logs
        self._insert: Spool | None = None
        self.set(_SERVER_DEFAULTS)

    def set(self, settings: Mapping[str, str]) -> None:
        """Change settings, as SET does.

        Raises:
            ClickHouseError: a setting is not known, or its value not possible.
        """
        if settings:
            self.query("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items()), "Null")

    def reset(self, names: list[str]) -> None:
        """Give settings their defaults again."""
        if names:
            self.query("SET " + ", ".join(f"{name} = DEFAULT" for name in names), "Null")

    def use(self, database: str) -> None:
        """Choose the database for names without one.

        Raises:
            ClickHouseError: there is no such database.
        """
        self.query("USE `" + database.replace("\\", "\\\\").replace("`", "\\`") + "`", "Null")

    def writes(self, text: bytes) -> bool:
        """Tell whether a statement changes anything, as ClickHouse's parser sees it; of one it cannot parse: no."""
        kind = str(self._connection.classify_query(text)["query_class"].name)
        return kind not in {"READ_ONLY", "UNKNOWN"}

    def query(
        self, sql: str | bytes, output_format: str, parameters: Mapping[str, str] | None = None
    ) -> tuple[bytes, Progress]:
        """Run a statement and give its whole result.

        Raises:
            ClickHouseError: the engine refused it, or it failed.
        """
        begun = time.monotonic_ns()
        try:
            result = self._connection.query(sql, output_format, params=dict(parameters or {}))
        except RuntimeError as error:
            raise ClickHouseError.from_engine(str(error)) from None
        return result.bytes(), Progress.of(result, time.monotonic_ns() - begun)

    def insert(
        self, sql: bytes, output_format: str, parameters: Mapping[str, str], token: str
    ) -> tuple[bytes, Progress]:
        """Run an INSERT whose rows do not follow, as of a SELECT; otherwise like `query`.

        Args:
            sql: the statement.
            output_format: of a result that is empty.
            parameters: of the statement.
            token: its ``insert_deduplication_token``, or nothing.
        """
        with self._watched(token):
            return self.query(sql, output_format, parameters)

    def select_into(self, pipe: int, statement: Select, output_format: str, parameters: Mapping[str, str]) -> Progress:
        """Run a query whose result the engine writes into a pipe, which is closed at the end.

        A full pipe holds the engine back, so a result of any size takes no memory. (chDB's own streaming would begin a
        new document, with its header, at every block.)

        Raises:
            ClickHouseError: the engine refused it, or it failed; part of the result may be in the pipe.
        """
        try:
            # On a line of its own, for the statement may end in a comment.
            outfile = b"\nINTO OUTFILE '/dev/fd/%d' TRUNCATE FORMAT %s " % (pipe, output_format.encode())
            return self.query(statement.before + outfile + statement.after, "TabSeparated", parameters)[1]
        finally:
            os.close(pipe)

    def begin_insert(self, insert: WithRows, parameters: Mapping[str, str]) -> None:
        """Begin an INSERT whose rows follow. The engine sees nothing of it before ``finish_insert``.

        Raises:
            ClickHouseError: there is no room for rows.
        """
        self._insert = Spool(self._folder, insert, parameters)

    def append(self, rows: bytes) -> None:
        """Keep rows, cut anywhere.

        Raises:
            ClickHouseError: there is no room for them.
        """
        self._begun_insert().append(rows)

    def finish_insert(self, token: str) -> Progress:
        """Insert what was handed over.

        The engine reads a file, by a query: chDB's own way of taking rows piece by piece does not tell of what fails
        behind the parser (a constraint, a view, memory, a full disk), and the rows would be gone without a word.

        Args:
            token: the insert's ``insert_deduplication_token``, or nothing.

        Raises:
            ClickHouseError: the engine refused the rows, or it failed.
        """
        insert = self._begun_insert()
        try:
            with self._watched(token):
                result = self._connection.query(insert.statement(), "Null", params=insert.parameters)
        except RuntimeError as error:
            raise ClickHouseError.from_engine(insert.without_place(str(error))) from None
        finally:
            self.cancel_insert()
        return Progress.of(result, time.monotonic_ns() - insert.begun)

    @contextlib.contextmanager
    def _watched(self, token: str) -> Iterator[None]:
        """Watch over an insert, and end the process at once if it is cut off between its token and its part.

        Its repetition would be dropped, and the rows be gone without a word: see `tokens`.
        """
        with self._logs.turn(token):
            insert = self._logs.begin()
            try:
                yield
            except BaseException:
                if self._is_cut_off(insert):
                    os._exit(Exit.FAILED)  # not in good order, for which others would be waited for
                raise
            self._logs.done(insert)

    def _is_cut_off(self, insert: Begun) -> bool:
        try:
            cut_off = self._logs.failed(insert)
        except Exception:
            logger.critical("An insert failed, and its tokens cannot be looked at. This process ends", exc_info=True)
            return True
        if cut_off:
            logger.critical("An insert was cut off between its token and its part. This process ends: start it again")
        return cut_off

    def cancel_insert(self) -> None:
        """Let go of the rows of an INSERT. May be called twice."""
        insert, self._insert = self._insert, None
        if insert is not None:
            insert.close()

    def _begun_insert(self) -> Spool:
        if self._insert is None:
            raise RuntimeError("no INSERT was begun")
        return self._insert

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
