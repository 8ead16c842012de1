"""Deduplication tokens and the parts that they stand for, made to agree after the engine has ended in any way.

Of an insert the engine writes the part, notes its token in a log of the table, and then gives the part its name. So

- where the log is not on the disk when the power is lost, the part may be there without its token, and the same insert
  again counts twice: logs are *written through*;
- where it all ends between the two, by a kill or a loss of power, the token may be there without its part, and the same
  insert again is dropped: such *orphans* are taken back before the engine opens the folder;
- where an error ends the insert between the two, the process lives and merges go on, and what was merged looks as if it
  had everything from its first insert to its last. So each token whose part has not got its own name is *doubted* at
  once, in the log. If the name comes after all, the insert of another client was on its way, and the token is believed
  again. If not, the process has to end, since the engine remembers the token; what is doubted is decided before the
  next start, however this process ended.

A log is some files of lines ``operation <TAB> part <TAB> block``. The engine reads a line that is not whole as the end,
and goes on behind it, so that is mended, too. (Seen of chDB 4.4; the engine's own ``MergeTreeDeduplicationLog``.)
"""

import contextlib
import fcntl
import logging
import os
import re
import struct
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

from deploy.embedded.server_folder import replace

logger = logging.getLogger(__name__)

_LINE = re.compile(rb"([012])\t([^\t\n\0]+)\t([^\t\n\0]+)\n")
_DOUBTED, _NOTED, _TAKEN_BACK = b"0", b"1", b"2"
"""Operations. The first is not the engine's, which reads a log only as it starts."""
_NAME = re.compile(r"([^_]+)_(\d+)_(\d+)_\d+(?:_\d+)?")
_LOOKS, _LOOK_AGAIN = 20, 0.05
"""For an insert that was cut off: any other is between its token and its part for less than these seconds together."""
_NAMES_STAY = 240
"""Seconds for which the name of a merged part is there at least: half of ``old_parts_lifetime``."""
_TOLD = 5
"""Names in one line for people."""

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # of 64-bit Linux
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
        if part is None or part[2] != part[3]:
            return True  # of an engine before this form of names
        partition, number = part[1], int(part[2])
        before = bisect_right(self._begins.get(partition, ()), number)
        return before > 0 and self._ends[partition][before - 1] >= number


class Logs:
    """The logs of all tables while the engine runs. May be used by several threads."""

    def __init__(self, engine: Path) -> None:
        """Describe them; none is known before `find`."""
        self._engine = engine
        self._known: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._doubts = 0
        """Inserts that failed, and of which it is not known yet whether they left a token behind."""

    def find(self) -> bool:
        """Find the logs of tables that were made since the last time, and have them written through from now on.

        Tell whether that could be done: ext4 and XFS have the attribute, and hand it on to what is made in a folder.
        """
        found = frozenset(_logs(self._engine))
        done = True
        for log in found - self._known:
            try:
                for path in (log, *(entry.path for entry in os.scandir(log))):
                    _write_through(path)
            except FileNotFoundError:
                continue  # its table was dropped meanwhile
            except OSError as error:
                logger.debug("%s cannot be written through: %s", log, error)
                done = False
        self._known = found
        return done

    def noted(self) -> "Noted":
        """Tell what is noted now: what an insert that begins notes stands behind that."""
        sizes = {}
        for log in self._known:
            try:
                for entry in os.scandir(log):
                    sizes[entry.path] = entry.stat().st_size
            except FileNotFoundError:  # its table was dropped meanwhile
                continue
        return Noted(sizes, time.monotonic())

    def lost(self, before: "Noted") -> bool:
        """Tell whether an insert that failed left a token behind without its part, in which case this process must end.

        Blocks for a second where it may be so.

        Args:
            before: what `noted` gave before the insert.

        Raises:
            OSError: the logs cannot be read or written, so that this cannot be told.
        """
        with self._lock:
            self._doubts += 1  # until it is settled; for ever where the process has to end
        doubted = self._doubt_missing(before)
        for _ in range(_LOOKS):
            for token in [token for token in doubted if token.has_part()]:
                token.mark(_NOTED)
                doubted.remove(token)
            if not doubted:
                with self._lock:
                    self._doubts -= 1
                return False
            time.sleep(_LOOK_AGAIN)
        self._doubt_missing(before)  # of others that are cut off at this moment, who will not come to it
        return True

    def wait_until_believed(self) -> None:
        """Wait while a token is in doubt: it may be the one for which an insert was dropped, and so called done."""
        while self._doubts:
            time.sleep(_LOOK_AGAIN)

    def _doubt_missing(self, before: "Noted") -> list["_Token"]:
        """Doubt each token since then whose part is not there, those that are doubted already included."""
        names_stay = time.monotonic() - before.at < _NAMES_STAY
        missing = []
        for file, size in self.noted().sizes.items():
            if size <= (begin := before.sizes.get(file, 0)):
                continue
            with contextlib.suppress(FileNotFoundError):  # its table was dropped meanwhile
                for line in _LINE.finditer(Path(file).read_bytes(), begin):
                    token = _Token(file, line.start(), Path(file).parents[1], line[2].decode())
                    if line[1] != _TAKEN_BACK and not token.has_part(merged=not names_stay):
                        token.mark(_DOUBTED)
                        missing.append(token)
        return missing


@dataclass(frozen=True, slots=True)
class Noted:
    """What stood in the logs at a time."""

    sizes: Mapping[str, int]
    """Of each file, by its path."""
    at: float
    """Of the monotonic clock."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A token in a log."""

    file: str
    place: int
    table: Path
    part: str

    def has_part(self, *, merged: bool = False) -> bool:
        """Tell whether the part has its name, or is one of those that were merged into another."""
        return (self.table / self.part).is_dir() or (merged and _parts(self.table).hold(self.part))

    def mark(self, operation: bytes) -> None:
        """Write another operation in its place: there may be no room for a longer log."""
        with contextlib.suppress(FileNotFoundError):  # its table was dropped meanwhile
            descriptor = os.open(self.file, os.O_WRONLY)
            try:
                os.pwrite(descriptor, operation, self.place)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _write_through(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        (flags,) = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("i", 0)))
        if not flags & _SYNCHRONOUS:
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", flags | _SYNCHRONOUS))
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_back_orphans(engine: Path) -> None:
    """Mend the logs, and take back the tokens of parts that are not there. Nothing else may use the folder.

    Raises:
        OSError: a log cannot be read or written.
    """
    for log in map(Path, _logs(engine)):
        files = _files(log)
        for file in files:
            found = file.read_bytes()
            if found != (whole := b"".join(line[0] for line in _LINE.finditer(found))):
                logger.warning("%s: %d bytes that are no whole lines are left out", file, len(found) - len(whole))
                replace(file, whole, by_way_of=engine / "tokens.new")
            if whole != (decided := _LINE.sub(partial(_decide, log.parent), whole)):
                replace(file, decided, by_way_of=engine / "tokens.new")
        orphans = _orphans(log)
        if not orphans:
            continue
        names = [part for part, _ in orphans]
        logger.warning(
            "%s: %d tokens are taken back, whose parts are not there: %s%s",
            log,
            len(names),
            ", ".join(names[:_TOLD]),
            ", ..." if len(names) > _TOLD else "",
        )
        taken = b"".join(b"\t".join((_TAKEN_BACK, part.encode(), block)) + b"\n" for part, block in orphans)
        replace(files[-1], files[-1].read_bytes() + taken, by_way_of=engine / "tokens.new")


def _decide(table: Path, line: re.Match[bytes]) -> bytes:
    """Give a line as it is to be read: what was doubted counts if its part has got its own name."""
    if line[1] != _DOUBTED:
        return line[0]
    logger.warning("%s: the insert of %s was cut off", table, line[2].decode())
    return (_NOTED if (table / line[2].decode()).is_dir() else _TAKEN_BACK) + line[0][1:]


def _orphans(log: Path) -> list[tuple[str, bytes]]:
    """Give part and block of each token that counts and whose part is not there."""
    noted = _noted(b"".join(file.read_bytes() for file in _files(log)))
    parts = _parts(log.parent)
    return [(name, block) for block, name in noted.items() if not parts.hold(name)]


def _parts(table: Path) -> Parts:
    with os.scandir(table) as found:
        return Parts(entry.name for entry in found if entry.is_dir())


def _noted(lines: bytes) -> Mapping[bytes, str]:
    noted: dict[bytes, str] = {}
    for operation, name, block in _LINE.findall(lines):
        if operation == _NOTED:
            noted[block] = name.decode()
        else:
            noted.pop(block, None)
    return noted


def _files(log: Path) -> list[Path]:
    return sorted(log.glob("deduplication_log_*.txt"), key=lambda file: int(file.stem.rpartition("_")[2]))


def _logs(engine: Path) -> Iterator[str]:
    """Give the folders of all logs; by the system's own means, since there may be thousands of tables."""
    with contextlib.suppress(FileNotFoundError):
        for store in os.scandir(engine / "store"):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # a table may be dropped meanwhile
                for table in os.scandir(store):
                    if (log := Path(table.path, "deduplication_logs")).is_dir():
                        yield str(log)
