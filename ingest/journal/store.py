"""The journal's file: an SQLite database of what was accepted and is not known to be in Kafka.

Everything here blocks, and is for one thread. Durability is SQLite's: with a write-ahead log and ``synchronous=FULL`` a
commit returns when its bytes are on the disk (https://www.sqlite.org/pragma.html#pragma_synchronous), and what a kill
cut short is rolled back at the next start. SQLite has no checksums over the contents, so every row has one.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from zlib import crc32

from ingest.journal.entries import Chunk, Entry, Run
from ingest.journal.layout import APPLICATION, LAYOUT, SCHEMA
from streams.contracts.errors import ConfigurationError, PublishError

FILE = "journal.sqlite3"
"""Its name in the journal's folder. SQLite keeps a file ending in ``-wal`` beside it, which belongs to it."""

PAGE_SIZE = 16_384
"""Bytes. Rows of some 100 KB are written twice as fast as with SQLite's own 4096."""

WAL_PAGES = 512
"""Pages in the write-ahead log from which on they are moved into the file itself."""

RESERVE = 64 * 1024 * 1024
"""Bytes of the disk that are left free, since SQLite needs room to remove something: the write-ahead log, and as much
in the file. On a disk filled to the last byte nothing could be removed, even when Kafka has it all."""

_DISK_TROUBLES = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""Errors that may be gone at the next start."""


class StorageError(PublishError):
    """The disk does not take what is to be written: it is full, or it fails. Nothing was written."""


class Store:
    """One open file. Holds it for itself: no other process can open it meanwhile, and a kill frees it."""

    def __init__(self, path: Path, connection: sqlite3.Connection, reserve: int) -> None:
        self._path = path
        self._connection = connection
        self._reserve = reserve

    @classmethod
    def open(cls, folder: Path, *, reserve: int = RESERVE) -> Self:
        """Open the file, or make it.

        Args:
            folder: of the file.
            reserve: bytes of the disk that are not to be used.

        Raises:
            ConfigurationError: the folder cannot be used, another process has the file, or it is damaged.
            StorageError: the disk is full, or it fails.
        """
        path = folder / FILE
        try:
            _make(folder)
            connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        except (OSError, sqlite3.OperationalError) as error:
            raise ConfigurationError(
                f"the journal {path} cannot be opened ({error}): set ingest.journal to a folder that this user may "
                "write"
            ) from error
        store = cls(path, connection, reserve)
        try:
            store._prepare()
        except BaseException:
            connection.close()
            raise
        return store

    def _prepare(self) -> None:
        with self._readable():
            execute = self._connection.execute
            execute(f"pragma page_size = {PAGE_SIZE}")
            execute("pragma locking_mode = exclusive")
            execute("pragma journal_mode = wal")
            execute("pragma synchronous = full")
            execute(f"pragma wal_autocheckpoint = {WAL_PAGES}")
            execute(f"pragma journal_size_limit = {WAL_PAGES * PAGE_SIZE}")
            execute("begin exclusive")
            try:
                self._make_or_check()
            except BaseException:
                execute("rollback")
                raise
            execute("commit")
            (verdict,) = execute("pragma quick_check(1)").fetchone()
        if verdict != "ok":
            raise self._damaged(verdict)

    def _make_or_check(self) -> None:
        execute = self._connection.execute
        (tables,) = execute("select count(*) from sqlite_schema").fetchone()
        (application,) = execute("pragma application_id").fetchone()
        (layout,) = execute("pragma user_version").fetchone()
        if not tables and not application:
            for statement in SCHEMA.split(";"):
                execute(statement)
            execute(f"pragma application_id = {APPLICATION}")
            execute(f"pragma user_version = {LAYOUT}")
        elif application != APPLICATION:
            raise ConfigurationError(
                f"{self._path} is a database of something else: set ingest.journal to another folder"
            )
        elif layout != LAYOUT:
            raise ConfigurationError(
                f"the journal {self._path} has layout {layout}, this version of todoke knows {LAYOUT}: run the version "
                f"that wrote it until it is empty (todoke ingest --until-idle)"
            )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if _code(error) == sqlite3.SQLITE_BUSY:
                raise ConfigurationError(
                    f"the journal {self._path} is in use by another process: give each ingest process a folder of its "
                    f"own with ingest.journal"
                ) from error
            kind = StorageError if _code(error) in _DISK_TROUBLES else ConfigurationError
            raise kind(f"the journal {self._path} cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, how: str) -> ConfigurationError:
        return ConfigurationError(
            f"the journal {self._path} is damaged ({how}). Posts in it were accepted and may not be in Kafka yet: keep "
            f"{self._path.parent} in another place, so that they can be recovered, and start with an empty folder"
        )

    @property
    def shards(self) -> int | None:
        """How many partitions the inbox had when it was seen last; ``None`` if it never was."""
        row = self._connection.execute("select shards from inboxes").fetchone()
        return None if row is None else int(row[0])

    def note_shards(self, shards: int) -> None:
        """Remember how many partitions the inbox has."""
        with self._transaction():
            self._connection.execute("delete from inboxes")
            self._connection.execute("insert into inboxes values (?)", (shards,))

    def begin_run(self, instance: str) -> Run:
        """Give a new run its number.

        Args:
            instance: as its receipts name it.
        """
        with self._transaction():
            made = self._connection.execute(
                "insert into runs (instance) values (?) returning id", (instance,)
            ).fetchone()
        return Run(id=made[0], instance=instance, last_post=0)

    def runs(self) -> list[Run]:
        """List the runs that were not forgotten."""
        rows = self._connection.execute("select id, instance, last_post from runs").fetchall()
        return [Run(id=id_, instance=instance, last_post=last) for id_, instance, last in rows]

    def chunks(self) -> list[Chunk]:
        """List what is there, oldest first, having read it all.

        Raises:
            ConfigurationError: something is damaged.
        """
        chunks: dict[int, Chunk] = {}
        runs = {run.id for run in self.runs()}
        with self._readable():
            rows = self._connection.execute(
                "select chunk, shard, run, first_post, last_post, posts, accepted_at, content, checksum from entries "
                "order by id"
            )
            for *values, checksum in rows:
                names = ("chunk", "shard", "run", "first_post", "last_post", "posts", "accepted_at", "content")
                entry = Entry(**dict(zip(names, values, strict=True)))
                self._check(entry.content, checksum, entry.chunk)
                if entry.run not in runs:
                    raise self._damaged(f"nothing is known of the run that wrote chunk {entry.chunk}")
                chunk = chunks.get(entry.chunk)
                if chunk is None:
                    chunk = chunks[entry.chunk] = Chunk.begun_by(entry)
                chunk.add(entry)
        return sorted(chunks.values(), key=lambda chunk: chunk.number)

    def read(self, chunk: int) -> list[bytes]:
        """Read the contents of a chunk's entries, in the order in which they were accepted.

        Raises:
            ConfigurationError: something is damaged.
            StorageError: the disk fails.
        """
        with self._readable():
            rows = self._connection.execute(
                "select content, checksum from entries where chunk = ? order by id", (chunk,)
            ).fetchall()
        for content, checksum in rows:
            self._check(content, checksum, chunk)
        return [content for content, _ in rows]

    def _check(self, content: bytes, checksum: int, chunk: int) -> None:
        if crc32(content) != checksum:
            raise self._damaged(f"the checksum of an entry of chunk {chunk} is wrong")

    def commit(self, entries: Sequence[Entry], done: Iterable[Chunk], forgotten: Iterable[int]) -> None:
        """Return once all of it is on the disk.

        Args:
            entries: to add.
            done: chunks to remove, since Kafka has them.
            forgotten: runs to remove.

        Raises:
            StorageError: none of it is.
            ConfigurationError: the file is damaged.
        """
        if entries:
            self._check_disk(sum(entry.size for entry in entries))
        with self._transaction():
            self._connection.executemany(
                "insert into entries (chunk, shard, run, first_post, last_post, posts, accepted_at, checksum, content) "
                "values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(entry.chunk, entry.shard, entry.run, entry.first_post, entry.last_post, entry.posts),
                        *(entry.accepted_at, crc32(entry.content), entry.content),
                    )
                    for entry in entries
                ],
            )
            for chunk in done:
                self._connection.execute("delete from entries where chunk = ?", (chunk.number,))
                self._connection.execute(
                    "update runs set last_post = max(last_post, ?) where id = ?", (chunk.last_post, chunk.run)
                )
            self._connection.executemany("delete from runs where id = ?", [(run,) for run in forgotten])

    def _check_disk(self, size: int) -> None:
        free = shutil.disk_usage(self._path.parent).free
        if free < self._reserve + 2 * size:  # in the write-ahead log first, then in the file
            raise StorageError(
                f"the disk of the journal {self._path} is nearly full: {self._reserve} bytes of it must stay free"
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("begin immediate")
            try:
                yield
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise
        except sqlite3.OperationalError as error:
            raise StorageError(f"the journal {self._path} cannot be written: {error}") from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def _make(folder: Path) -> None:
    """Make a folder where there is none, and see to it that it outlives the machine; SQLite does so for its files."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _code(error: sqlite3.Error) -> int:
    return error.sqlite_errorcode & 0xFF  # the rest says more exactly which
