"""The rows of an INSERT that are still coming: kept in a file without a name until all of them are there."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.statements import WithRows

_BUFFER = 2**20  # bytes of rows that are written at a time


class Spool:
    """One INSERT. What is written and read at once hardly reaches the disk, and a kill leaves nothing behind."""

    def __init__(self, folder: Path, insert: WithRows, parameters: Mapping[str, str]) -> None:
        """Begin.

        Args:
            folder: where the rows are kept.
            insert: the statement.
            parameters: of the statement.

        Raises:
            ClickHouseError: there is no room.
        """
        self.begun = time.monotonic_ns()
        self.parameters = dict(parameters)
        self._insert = insert
        with _room():
            self._rows = tempfile.TemporaryFile(dir=folder, buffering=_BUFFER)  # noqa: SIM115 - closed by `close`

    def append(self, rows: bytes) -> None:
        """Keep rows, cut anywhere.

        Raises:
            ClickHouseError: there is no room for them.
        """
        with _room():
            self._rows.write(rows)

    def statement(self) -> bytes:
        """Write all rows down, and give the statement that reads them.

        Raises:
            ClickHouseError: there is no room for them.
        """
        with _room():
            self._rows.seek(0)  # writes what is buffered, too
        return self._insert.reading(self._place)

    def without_place(self, error: str) -> str:
        """Leave out of the engine's words which file it has read."""
        return self._insert.without(self._place, error.replace(f": (in file/uri {self._place})", ""))

    def close(self) -> None:
        """Let go of the rows. May be called twice."""
        with contextlib.suppress(OSError):  # what is left to be written finds no room either, and nobody wants it
            self._rows.close()

    @property
    def _place(self) -> str:
        return f"/dev/fd/{self._rows.fileno()}"


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """Tell a full disk as ClickHouse does."""
    try:
        yield
    except OSError as error:
        raise ClickHouseError(243, "NOT_ENOUGH_SPACE", f"Cannot keep the rows of an INSERT: {error}") from error
