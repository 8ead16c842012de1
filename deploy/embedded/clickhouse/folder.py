"""The server's data folder: who may use it, which engine wrote it, and where its server answers."""

import json
import os
from pathlib import Path
from typing import Any

from deploy.embedded.clickhouse.errors import FolderInUseError, FolderVersionError
from deploy.embedded.folder_lock import FolderLock

_FORM = "todoke-clickhouse/1"


class DataFolder:
    """One folder, its paths, its marker and its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.engine = self.path / "engine"
        """The engine's own files."""
        self.temporary = self.path / "tmp"
        """Large results, while they are held."""
        self.log = self.path / "server.log"
        """What the server logs, where whoever started it has no better place."""
        self._marker = self.path / "todoke-clickhouse.json"
        self._server = self.path / "server.json"
        self._lock = self.path / "in-use.lock"

    def lock(self) -> FolderLock:
        """Take the folder for oneself, making it where it is missing.

        Raises:
            FolderInUseError: another process has it.
            FolderVersionError: it cannot be made, or holds what todoke did not write.
        """
        try:
            if self.path.is_dir() and not self._is_ours() and any(self.path.iterdir()):
                raise FolderVersionError(
                    f"The folder {self.path} holds files that are not todoke's, so ClickHouse's data is not put there. "
                    "Choose an empty or a new folder."
                )
            self.path.mkdir(parents=True, exist_ok=True)
            return FolderLock.take(self._lock)
        except BlockingIOError:
            raise FolderInUseError(self.path, FolderLock.holder(self._lock)) from None
        except OSError as error:
            raise FolderVersionError(
                f"The ClickHouse data folder {self.path} cannot be used: {error.strerror}. "
                "Choose a folder that this user may write to."
            ) from error

    def check(self, engine: str) -> None:
        """See to it that an engine of this version can read the folder.

        Raises:
            FolderVersionError: a newer one wrote it, or the marker is damaged.
        """
        try:
            marker = json.loads(self._marker.read_bytes())
            form, written_by = marker["form"], marker["engine"]
            newer = _release(written_by) > _release(engine)
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError) as error:
            raise FolderVersionError(
                f"{self._marker} is damaged, so it is not known which engine wrote this folder. "
                "Restore the folder from a backup, or choose another one."
            ) from error
        if newer or form != _FORM:
            raise FolderVersionError(
                f"The ClickHouse data folder {self.path} was written by ClickHouse {written_by} ({form}); "
                f"this is ClickHouse {engine} ({_FORM}), which may not be able to read it. "
                "Install a chdb at least as new, or choose another data folder."
            )

    def mark(self, engine: str) -> None:
        """Write down which engine has opened the folder."""
        _write(self._marker, {"form": _FORM, "engine": engine})

    def announce(self, url: str) -> None:
        """Write down where this process answers."""
        _write(self._server, {"pid": os.getpid(), "url": url})

    def conceal(self) -> None:
        """Take back what was announced."""
        self._server.unlink(missing_ok=True)

    def announced(self, pid: int) -> str | None:
        """Tell where a process answers; None while it has not said so."""
        try:
            server = json.loads(self._server.read_bytes())
        except (OSError, ValueError):
            return None
        return str(server["url"]) if server["pid"] == pid else None

    def _is_ours(self) -> bool:
        return self._marker.exists() or self._lock.exists()


def _release(version: str) -> tuple[int, int]:
    """Give what decides whether files can be read: year and month of a release."""
    year, month, *_ = version.split(".")
    return int(year), int(month)


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace a file in one step that a crash cannot halve."""
    new = path.with_suffix(".new")
    with new.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
