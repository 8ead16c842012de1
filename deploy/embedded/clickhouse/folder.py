"""The server's data folder: who may use it, which engine wrote it, and where its server answers."""

import json
import os
from pathlib import Path

from deploy.embedded.errors import FolderVersionError
from deploy.embedded.server_folder import ServerFolder, write_json

_FORM = "todoke-clickhouse/1"


class DataFolder(ServerFolder):
    """One folder and its paths."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, server="ClickHouse")
        self.engine = self.path / "engine"
        """The engine's own files."""
        self.log = self.path / "server.log"
        """What the server logs, where whoever started it has no better place."""
        self._address = self.path / "server.json"

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
            raise self._damaged() from error
        if newer or form != _FORM:
            raise FolderVersionError(
                f"The ClickHouse data folder {self.path} was written by ClickHouse {written_by} ({form}); "
                f"this is ClickHouse {engine} ({_FORM}), which may not be able to read it. "
                "Install a chdb at least as new, or choose another data folder."
            )

    def mark(self, engine: str) -> None:
        """Write down which engine has opened the folder."""
        write_json(self._marker, {"form": _FORM, "engine": engine})

    def announce(self, url: str) -> None:
        """Write down where this process answers."""
        write_json(self._address, {"pid": os.getpid(), "url": url})

    def conceal(self) -> None:
        """Take back what was announced."""
        self._address.unlink(missing_ok=True)

    def announced(self, pid: int) -> str | None:
        """Tell where a process answers; None while it has not said so."""
        try:
            server = json.loads(self._address.read_bytes())
        except (OSError, ValueError):
            return None
        return str(server["url"]) if server["pid"] == pid else None


def _release(version: str) -> tuple[int, int]:
    """Give what decides whether files can be read: year and month of a release."""
    year, month, *_ = version.split(".")
    return int(year), int(month)
