"""Deduplication tokens and the parts that they stand for, made to agree after the engine has ended in any way.

Of an insert the engine writes the part, notes its token in a log of the table, and then gives the part its name. So

- where the log is not on the disk when the power is lost, the part may be there without its token, and the same insert
  again counts twice: logs are *written through*;
- where the process is killed between the two, or the power is lost, the token may be there without its part, and the
  same insert again is dropped: tokens of parts that are not there are *taken back* before the engine opens the folder.

A log is some files of lines ``operation <TAB> part <TAB> block``, of which the last ones count (seen of chDB 4.4; the
engine's own ``MergeTreeDeduplicationLog``).
"""

import fcntl
import logging
import os
import re
import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

from deploy.embedded.server_folder import replace

logger = logging.getLogger(__name__)

LOGS = "store/*/*/deduplication_logs"
_NOTED, _TAKEN_BACK = "1", "2"
_NAME = re.compile(r"([^_]+)_(\d+)_(\d+)_\d+(?:_\d+)?")

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_SYNCHRONOUS = 0x8
"""The attribute ``S`` of a file: each write is on the disk before it returns (``man ioctl_iflags``)."""


class Parts:
    """The inserts that are in the parts of a table: of each partition, by numbers that the engine gives them."""

    def __init__(self, names: Iterable[str]) -> None:
        """Read the names of parts; others are passed over.

        Args:
            names: a part is named ``partition_first_last_level``, by the inserts that it was merged from.
        """
        spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for name in names:
            if (part := _NAME.fullmatch(name)) is not None:
                spans[part[1]].append((int(part[2]), int(part[3])))
        for found in spans.values():
            found.sort()
        self._begins = {partition: [first for first, _ in found] for partition, found in spans.items()}
        self._ends = {
            partition: list(accumulate((last for _, last in found), max)) for partition, found in spans.items()
        }

    def hold(self, name: str) -> bool:
        """Tell whether the part of one insert is there, or one that it was merged into."""
        part = _NAME.fullmatch(name)
        if part is None:
            return True
        partition, number = part[1], int(part[2])
        before = bisect_right(self._begins.get(partition, ()), number)
        return before > 0 and self._ends[partition][before - 1] >= number


def write_logs_through(engine: Path) -> None:
    """Have every log written through from now on, of tables that were made since the last time as well.

    Does nothing where the system, or the file system, has no such attribute.
    """
    for log in engine.glob(LOGS):
        try:
            for path in (log, *log.iterdir()):  # what is made in the folder later has the folder's attribute
                _write_through(path)
        except OSError as error:
            logger.debug("%s cannot be written through: %s", log, error)


def _write_through(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("l", 0)))
        if not flags & _SYNCHRONOUS:
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _SYNCHRONOUS))
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_back_orphans(engine: Path) -> None:
    """Take back the tokens of parts that are not there. Nothing else may use the folder.

    Raises:
        OSError: a log cannot be read or written.
    """
    for log in engine.glob(LOGS):
        files = sorted(log.glob("deduplication_log_*.txt"), key=_number)
        lines = [line for file in files for line in file.read_text().splitlines()]
        orphans = list(_orphans(lines, Parts(folder.name for folder in log.parent.iterdir())))
        if not orphans:
            continue
        logger.warning(
            "%s: inserts that were cut off in the middle count as if they had never begun: %s",
            log.parent,
            ", ".join(part for part, _ in orphans),
        )
        taken = "".join(f"{_TAKEN_BACK}\t{part}\t{block}\n" for part, block in orphans)
        replace(files[-1], files[-1].read_text() + taken, by_way_of=engine / "tokens.new")


def _orphans(lines: Iterable[str], parts: Parts) -> Iterator[tuple[str, str]]:
    """Give part and block of each line that counts and whose part is not there."""
    noted: dict[str, str] = {}
    for line in lines:
        operation, name, block = line.split("\t")
        if operation == _NOTED:
            noted[block] = name
        else:
            noted.pop(block, None)
    return ((name, block) for block, name in noted.items() if not parts.hold(name))


def _number(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])
