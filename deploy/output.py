"""The lines of the child processes: on the terminal behind their names, and in a file each."""

import contextlib
import sys
from pathlib import Path

KEPT = 3
"""Old log files of each child that are kept."""
COLOURS = (36, 33, 32, 35, 34, 96)
"""ANSI colours, one for each child in turn."""
WIDTH = 15
"""Room for the longest name, ``sink-clickhouse``."""


class PrefixedOutput:
    """Passes a child's lines on to the terminal and to its log file, which it rotates."""

    def __init__(self, name: str, *, number: int, folder: Path, limit: int, plain: bool) -> None:
        """Open the log file.

        Args:
            name: of the child.
            number: of the child, which chooses its colour.
            folder: where the log files are.
            limit: bytes of one file.
            plain: pass lines on as they are, which keeps JSON lines readable for machines.
        """
        self._prefix = "" if plain else _prefix(name, number)
        self._path = folder / f"{name}.log"
        self._limit = limit
        self._file = self._path.open("ab", buffering=0)
        self._size = self._path.stat().st_size

    def write(self, line: str) -> None:
        """Take one line; where the disk is full, or nobody reads the terminal any more, it is left out there."""
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{self._prefix}{line}\n")
            sys.stderr.flush()
        with contextlib.suppress(OSError):
            self._size += self._file.write(f"{line}\n".encode())
            if self._size >= self._limit:
                self._rotate()

    def close(self) -> None:
        """Close the log file."""
        self._file.close()

    def _rotate(self) -> None:
        fresh = self._path.with_suffix(".log.0")
        begun = fresh.open("wb", buffering=0)  # first: where the disk has no room for it, all stays as it is
        for number in range(KEPT - 1, 0, -1):
            older = self._path.with_suffix(f".log.{number}")
            if older.exists():
                older.replace(self._path.with_suffix(f".log.{number + 1}"))
        with contextlib.suppress(FileNotFoundError):  # somebody has removed it
            self._path.replace(self._path.with_suffix(".log.1"))
        fresh.replace(self._path)
        self._file.close()
        self._file, self._size = begun, 0


def _prefix(name: str, number: int) -> str:
    text = f"{name:<{WIDTH}} | "
    return f"\x1b[{COLOURS[number % len(COLOURS)]}m{text}\x1b[0m" if sys.stderr.isatty() else text
