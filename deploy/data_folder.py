"""The data folder of a local pipeline: who may use it, which layout it has, and what runs on it."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from deploy.embedded.child import kill_family
from deploy.embedded.folder_lock import FolderLock
from deploy.embedded.server_folder import write_json
from streams.contracts.errors import ConfigurationError

LAYOUT = 1
"""Version of what lies where in the folder; a release that cannot read the folders before it counts this up."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Names the machine's start, where there is Linux."""


class DataFolder:
    """One folder, held by one `todoke up` at a time.

    The lock lives as long as the process that took it, so that a kill leaves nothing stale behind. As a context
    manager: takes the lock, releases it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.kafka = self.path / "kafka"
        self.clickhouse = self.path / "clickhouse"
        self.logs = self.path / "logs"
        self._layout = self.path / "layout.json"
        self._run = self.path / "run.json"
        self._lock = self.path / "lock"
        self._held: FolderLock | None = None
        self._made: list[Path] = []
        """The folders that were made for this use, the innermost first; none any more once something runs in it."""

    def __enter__(self) -> Self:
        """Take the folder, making it where it is missing.

        Raises:
            ConfigurationError: another process has it, it has another layout, or it cannot be written.
        """
        try:
            self._take()
        except OSError as error:
            raise ConfigurationError(
                f"the data folder {self.path} cannot be used ({error.strerror}): choose one that this user may write "
                "with --data DIR"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the folder; if it is new and nothing has begun to run in it before an error, remove it again."""
        if error is not None:
            self._unmake()
        if self._held is not None:
            self._held.release()
            self._held = None

    def _take(self) -> None:
        foreign = self.path.is_dir() and not self._lock.exists() and any(self.path.iterdir())
        if foreign:
            raise ConfigurationError(
                f"the folder {self.path} holds files that are not todoke's: choose an empty or a new one with "
                "--data DIR"
            )
        self._made = [folder for folder in (self.logs, self.path, *self.path.parents) if not folder.exists()]
        self.logs.mkdir(parents=True, exist_ok=True)
        try:
            self._held = FolderLock.take(self._lock)
        except BlockingIOError:
            holder = FolderLock.holder(self._lock)
            raise ConfigurationError(
                f"the data folder {self.path} is in use by process {holder or 'unknown'}: stop that one (Ctrl-C where "
                "it runs), or choose another folder with --data DIR"
            ) from None
        self._check_layout()

    def _unmake(self) -> None:
        """Remove the folder if it was made for this use and nothing lies in it that is worth anything.

        What cannot be removed stays, like a folder around it in which something else was made meanwhile: the error that
        leads here is what people are to see.
        """
        if self.path not in self._made:
            return
        with contextlib.suppress(OSError):
            logs = [log for log in self.logs.iterdir() if not log.stat().st_size]
            own = {self.logs, self._layout, self._lock, *logs}
            if own.issuperset(self.path.rglob("*")):
                for file in own - {self.logs}:
                    file.unlink(missing_ok=True)
                for folder in self._made:
                    folder.rmdir()

    def _check_layout(self) -> None:
        try:
            found = json.loads(self._layout.read_text(encoding="utf-8"))["layout"]
        except FileNotFoundError:
            write_json(self._layout, {"layout": LAYOUT})
            return
        except (ValueError, KeyError, TypeError):
            found = "unknown"
        if found != LAYOUT:
            self.__exit__(None, None, None)
            raise ConfigurationError(
                f"the data folder {self.path} has layout {found}, this version of todoke reads layout {LAYOUT}: run "
                "the version that wrote it, or choose another folder with --data DIR"
            )

    @property
    def is_made(self) -> bool:
        """Tell whether a pipeline ever ran here."""
        return self._lock.exists()

    def describe(self, run: Mapping[str, Any]) -> None:
        """Write ``run.json``, which tells other commands what runs here."""
        self._made = []
        write_json(self._run, run)

    def forget(self) -> None:
        """Remove ``run.json``: nothing runs here any more."""
        self._run.unlink(missing_ok=True)

    def description(self) -> dict[str, Any] | None:
        """Read ``run.json``, whether or not what it describes still runs."""
        try:
            run = json.loads(self._run.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return run if isinstance(run, dict) else None

    def running(self) -> dict[str, Any] | None:
        """Read ``run.json`` if the ``todoke up`` that wrote it is alive."""
        run = self.description()
        if run is None:
            return None
        processes = run.get("processes", {})
        return run if _alive(processes.get("todoke")) is not None else None

    def end_leftovers(self) -> list[str]:
        """Kill what an earlier ``todoke up`` left running when it was killed, and name it.

        Only processes that have both the id and the birth in ``run.json`` are touched. The lock must be held.
        """
        ended = []
        for name, entry in ((self.description() or {}).get("processes") or {}).items():
            process = _alive(entry)
            if process is None or process.pid == os.getpid():
                continue
            psutil.wait_procs(kill_family(process.pid), timeout=10)
            ended.append(f"{name} (process {process.pid})")
        self.forget()
        return ended


def birth(pid: int) -> str | None:
    """Tell what, with its id, names a process for good; ``None`` where there is none.

    On Linux that is the machine's start and the ticks since then (proc_pid_stat(5), field 22). The time of day, which
    is reckoned from these, moves whenever the clock is set.
    """
    try:
        if not BOOT.exists():
            return str(psutil.Process(pid).create_time())
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return f"{BOOT.read_text(encoding='ascii').strip()}/{stat.rpartition(')')[2].split()[19]}"
    except (psutil.Error, OSError):
        return None


def _alive(entry: Mapping[str, Any] | None) -> psutil.Process | None:
    try:
        process = psutil.Process(int((entry or {})["pid"]))
        born = birth(process.pid)
        same = born is not None and born == (entry or {})["birth"]
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, KeyError, TypeError, ValueError):
        return None
