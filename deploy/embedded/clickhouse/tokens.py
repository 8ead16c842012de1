"""Deduplication tokens and the parts that they stand for, made to agree after the engine has ended in any way.

Of an insert the engine writes the part, notes its token in a log of the table, and then gives the part its name. So

- where the log is not on the disk when the power is lost, the part may be there without its token, and the same insert
  again counts twice: logs are *written through*;
- where it all ends between the two, by a kill or a loss of power, the token may be there without its part, and the same
  insert again is dropped: such *orphans* are taken back before the engine opens the folder;
- where an error ends the insert between the two, or before the engine has taken over the part that has its name, the
  process lives and merges go on, and what was merged looks as if it had everything from its first insert to its last.
  So each token whose part the engine does not hold is *doubted* at once, in the log. If it holds it after all, the
  insert of another client was on its way, and the token is believed again. If not, the process has to end, since the
  engine remembers the token; what is doubted is decided before the next start, however this process ended.

A log is some files of lines ``operation <TAB> part <TAB> block``. The engine reads a line that is not whole as the end,
and goes on behind it, so that is mended, too. (Seen of chDB 4.4; the engine's own ``MergeTreeDeduplicationLog``.)
"""

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from deploy.embedded.clickhouse.parts import parts_of
from deploy.embedded.clickhouse.synchronous import set_synchronous
from deploy.embedded.server_folder import replace

logger = logging.getLogger(__name__)

_LINE = re.compile(rb"(\d+)\t([^\t\n\0]+)\t([^\t\n\0]+)\n")
_DOUBTED, _NOTED, _TAKEN_BACK = b"0", b"1", b"2"
"""Operations. The first is not the engine's, which reads a log as it starts, or attaches the table."""
_LOOK_AGAIN = 0.05
_PATIENCE = 10.0
"""Seconds for which inserts that are under way may keep one that failed in doubt."""
_NAMES_STAY = 240
"""Seconds for which the name of a merged part is there at least: half of the default of ``old_parts_lifetime``."""
_UNNAMED = "tmp_insert_"
"""What the name of a part begins with before the last step of its insert; the engine removes such when it starts."""
_TOLD = 5
"""Names in one line for people."""


HeldParts = Callable[[Collection[str]], Collection[tuple[str, str]]]
"""Asks the engine which parts of these names it holds: the folder of its table without the path, and the name."""


class Logs:
    """The logs of all tables while the engine runs. May be used by several threads."""

    def __init__(self, engine: Path, held: HeldParts) -> None:
        """Describe them; none is known before `find`.

        Args:
            engine: the engine's folder.
            held: what the engine holds, those that were merged a while ago included.
        """
        self._engine = engine
        self._held = held
        self._known: frozenset[str] = frozenset()
        self._finding = threading.Lock()
        self._lock = threading.Lock()
        self._under_way: set[Begun] = set()
        self._in_doubt: set[Begun] = set()
        """Inserts that failed, and of which it is not known yet whether they left a token behind."""
        self._turns: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def find(self) -> None:
        """Find the logs of tables that were made since the last time, and have them written through from now on.

        What is made in such a folder is, too; see `synchronous`.
        """
        with self._finding:
            found = frozenset(_logs(self._engine))
            for log in found - self._known:
                for path in (log, *_entries(log)):
                    try:
                        set_synchronous(path)
                    except FileNotFoundError:
                        continue  # its table was dropped meanwhile, or an old file of it
                    except OSError as error:
                        logger.debug("%s cannot be written through: %s", path, error)
            self._known = found

    @contextlib.contextmanager
    def turn(self, token: str) -> Iterator[None]:
        """Wait until no insert of the same token is under way: what becomes of it decides what becomes of this one."""
        if not token:
            yield
            return
        with self._lock:
            turn = self._turns.setdefault(token, threading.Lock())
        with turn:
            yield

    def begin(self) -> "Begun":
        """Take note of an insert that begins now, and must be `done` or `failed`."""
        sizes = {}
        for log in self._known:
            for path in _entries(log):
                with contextlib.suppress(FileNotFoundError):  # its table was dropped meanwhile, or an old file of it
                    sizes[path] = Path(path).stat().st_size
        insert = Begun(time.monotonic(), sizes)
        with self._lock:
            self._under_way.add(insert)
        return insert

    def done(self, insert: "Begun") -> None:
        """Take note that an insert is done. Blocks while another is in doubt, whose token may have been the same."""
        with self._lock:
            self._under_way.remove(insert)
        while self._in_doubt:
            time.sleep(_LOOK_AGAIN)

    def failed(self, insert: "Begun") -> bool:
        """Tell whether an insert that failed left a token behind without its part, so that this process must end.

        Blocks while what is missing may be the part of another one that is under way.

        Raises:
            Exception: the logs, or the engine, cannot be asked, so that this cannot be told.
        """
        with self._lock:
            self._under_way.remove(insert)
            self._in_doubt.add(insert)  # until it is settled; for ever where the process has to end
        lost = self._doubt_missing(insert)
        with self._lock:
            others = frozenset(self._under_way)
        until = time.monotonic() + _PATIENCE
        while lost:
            with self._lock:
                is_over = not others & self._under_way or time.monotonic() > until
            lost &= self._doubt_missing(insert)
            if lost and is_over:
                self._prepare_end(lost)
                return True
            time.sleep(_LOOK_AGAIN)
        with self._lock:
            self._in_doubt.remove(insert)
        return False

    def _prepare_end(self, lost: Iterable["_Token"]) -> None:
        for token in lost:
            token.take_name()
        with self._lock:
            rest = self._under_way | self._in_doubt
        for insert in rest:  # which will not come to it themselves
            self._doubt_missing(insert)

    def _doubt_missing(self, insert: "Begun") -> frozenset["_Token"]:
        """Doubt each token since an insert began whose part the engine does not hold, and believe all others."""
        noted: dict[tuple[Path, bytes], _Token] = {}
        for log in map(Path, self._known):
            for file in _files(log):
                with contextlib.suppress(FileNotFoundError):  # its table was dropped meanwhile, or an old file of it
                    for line in _LINE.finditer(file.read_bytes(), insert.sizes.get(str(file), 0)):
                        operation, part, block = line.groups()
                        if operation == _TAKEN_BACK:  # with what was dropped on purpose
                            noted.pop((log, block), None)
                        else:
                            noted[log, block] = _Token(file, line.start(), log.parent, part.decode())
        held = self._held({token.part for token in noted.values()}) if noted else ()
        # Of an insert that took long, parts may have been merged and removed since.
        merged = time.monotonic() - insert.at >= _NAMES_STAY
        missing = set()
        for token in noted.values():
            is_there = (token.table.name, token.part) in held or (merged and parts_of(token.table).hold(token.part))
            token.mark(_NOTED if is_there else _DOUBTED)
            if not is_there and token.file.exists():
                missing.add(token)
        return frozenset(missing)


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """An insert, as it began."""

    at: float
    """Of the monotonic clock."""
    sizes: Mapping[str, int]
    """Bytes of each file of each log, by its path: what the insert notes stands behind that."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A token in a log."""

    file: Path
    place: int
    table: Path
    part: str

    def mark(self, operation: bytes) -> None:
        """Have an operation in its place: there may be no room for a longer log."""
        try:
            descriptor = os.open(self.file, os.O_RDWR)
        except FileNotFoundError:  # its table was dropped meanwhile, or an old file of it
            return
        try:
            if os.pread(descriptor, 1, self.place) != operation:
                os.pwrite(descriptor, operation, self.place)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def take_name(self) -> None:
        """Take its name from a part that the engine has not taken over: the token would be believed for it."""
        part = self.table / self.part
        with contextlib.suppress(OSError):  # the next start takes it for what it is, unless it was merged over
            if part.is_dir():
                part.rename(part.with_name(f"{_UNNAMED}{self.part}"))


def take_back_orphans(engine: Path) -> None:
    """Mend the logs, and take back the tokens of parts that are not there. Nothing else may use the folder.

    Raises:
        OSError: a log cannot be read or written, or is of another version of the engine.
    """
    for log in list(map(Path, _logs(engine))):
        files = _files(log)
        for file in files:
            found = file.read_bytes()
            if found != (mended := _mended(found, file)):
                replace(file, mended, by_way_of=engine / "tokens.new")
        if not (orphans := _orphans(log)):
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


def _mended(content: bytes, file: Path) -> bytes:
    """Leave out what is no whole line, and decide what was doubted: it counts if its part has got its own name."""
    lines = []
    for line in _LINE.finditer(content):
        operation, part, block = line.groups()
        if operation == _DOUBTED:
            operation = _NOTED if (file.parents[1] / part.decode()).is_dir() else _TAKEN_BACK
            if operation == _TAKEN_BACK:
                logger.warning("%s: the insert of %s was cut off, its token is taken back", file, part.decode())
        elif operation not in {_NOTED, _TAKEN_BACK}:
            raise OSError(f"{file} has a line that is of another version of the engine: {line[0]!r}")
        lines.append(b"\t".join((operation, part, block)) + b"\n")
    whole = b"".join(lines)
    if len(whole) != len(content):
        logger.warning("%s: %d bytes that are no whole lines are left out", file, len(content) - len(whole))
    return whole


def _orphans(log: Path) -> list[tuple[str, bytes]]:
    """Give part and block of each token that counts and whose part is not there."""
    noted: dict[bytes, str] = {}
    for operation, part, block in _LINE.findall(b"".join(file.read_bytes() for file in _files(log))):
        if operation == _NOTED:
            noted[block] = part.decode()
        else:
            noted.pop(block, None)
    parts = parts_of(log.parent)
    return [(part, block) for block, part in noted.items() if not parts.hold(part)]


def _files(log: Path) -> list[Path]:
    return sorted(log.glob("deduplication_log_*.txt"), key=lambda file: int(file.stem.rpartition("_")[2]))


def _entries(folder: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(folder)]
    except FileNotFoundError:  # its table was dropped meanwhile
        return []


def _logs(engine: Path) -> Iterator[str]:
    """Give the folders of all logs; by the system's own means, since there may be thousands of tables."""
    with contextlib.suppress(FileNotFoundError):
        for store in os.scandir(engine / "store"):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # a table may be dropped meanwhile
                for table in os.scandir(store):
                    if (log := Path(table.path, "deduplication_logs")).is_dir():
                        yield str(log)
