"""A server's data folder: who may use it, and what is written down in it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.embedded.errors import FolderInUseError, FolderVersionError
from deploy.embedded.folder_lock import FolderLock


class ServerFolder:
    """One folder, its marker and its lock."""

    def __init__(self, path: Path, *, server: str) -> None:
        """Describe the folder; nothing happens before ``lock``.

        Args:
            path: where it is.
            server: what people call the server.
        """
        self.path = path.absolute()
        self.temporary = self.path / "tmp"
        """What need not outlive the server; emptied at each start."""
        self._server = server
        self._marker = self.path / f"todoke-{server.lower()}.json"
        self._lock = self.path / "in-use.lock"

    def lock(self) -> FolderLock:
        """Take the folder for oneself, making it where it is missing.

        Raises:
            FolderInUseError: another process has it.
            FolderVersionError: it cannot be made, or holds what todoke did not write.
        """
        try:
            ours = self._marker.exists() or self._lock.exists()
            if self.path.is_dir() and not ours and any(self.path.iterdir()):
                raise FolderVersionError(
                    f"The folder {self.path} holds files that are not todoke's, so {self._server}'s data is not put "
                    "there. Choose an empty or a new folder."
                )
            self.path.mkdir(parents=True, exist_ok=True)
            return FolderLock.take(self._lock)
        except BlockingIOError:
            raise FolderInUseError(self._server, self.path, FolderLock.holder(self._lock)) from None
        except OSError as error:
            raise FolderVersionError(
                f"The {self._server} data folder {self.path} cannot be used: {error.strerror}. "
                "Choose a folder that this user may write to."
            ) from error

    def _damaged(self) -> FolderVersionError:
        return FolderVersionError(
            f"{self._marker} is damaged, so it is not known which {self._server} wrote this folder. "
            "Restore the folder from a backup, or choose another one."
        )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file in one step that a crash cannot halve."""
    replace(path, (json.dumps(content, indent=2) + "\n").encode(), by_way_of=path.with_suffix(".new"))


def replace(path: Path, content: bytes, *, by_way_of: Path) -> None:
    """Replace a file, in one step that a crash cannot halve and a loss of power cannot undo.

    Args:
        path: of the file.
        content: what is in it from then on.
        by_way_of: where the new file is made: another place on the same disk.
    """
    with by_way_of.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    by_way_of.replace(path)
    _write_through(path.parent)


def write_through(folder: Path) -> None:
    """See to it that a folder, with all that is in it, outlives a loss of power."""
    for path in (*folder.rglob("*"), folder):
        _write_through(path)


def _write_through(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
