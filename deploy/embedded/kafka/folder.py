"""The broker's data folder: who may use it, who wrote it, and what is remembered in it."""

import base64
import json
import os
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deploy.embedded.folder_lock import FolderLock
from deploy.embedded.kafka.errors import FolderInUseError, FolderVersionError
from deploy.embedded.kafka.version import KAFKA_VERSION

_FORM = "todoke-kafka/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Marker:
    """What the folder says about itself, in ``todoke-kafka.json``."""

    kafka: str
    """Version of the Kafka that formatted it."""

    cluster_id: str
    """16 random bytes in Kafka's writing; drawn once, before the storage is formatted."""

    formatted: bool
    """Formatting came to its end; until then it is done again, with the same id."""

    port: int
    """Where clients found the broker last, so that they find it there again; 0 before the first start."""


class DataFolder:
    """One folder, its paths, its marker and its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.topics = self.path / "topics"
        """The logs of all partitions, Kafka's own files."""
        self.properties = self.path / "server.properties"
        """Written anew at each start."""
        self.log = self.path / "broker.log"
        """What the broker logs."""
        self.output = self.path / "java.out"
        """What Java itself has to say."""
        self.temporary = self.path / "tmp"
        """Native libraries that Java unpacks; emptied at each start."""
        self._marker = self.path / "todoke-kafka.json"
        self._lock = self.path / "in-use.lock"

    def lock(self) -> FolderLock:
        """Take the folder for oneself, making it where it is missing.

        Raises:
            FolderInUseError: another process has it.
            FolderVersionError: it cannot be made, or holds what todoke did not write.
        """
        try:
            if (
                self.path.is_dir()
                and not self._marker.exists()
                and any(self.path.iterdir())
                and not self._lock.exists()
            ):
                raise FolderVersionError(
                    f"The folder {self.path} holds files that are not todoke's, so Kafka's data is not put there. "
                    "Choose an empty or a new folder."
                )
            self.path.mkdir(parents=True, exist_ok=True)
            return FolderLock.take(self._lock)
        except BlockingIOError:
            raise FolderInUseError(self.path, FolderLock.holder(self._lock)) from None
        except OSError as error:
            raise FolderVersionError(
                f"The Kafka data folder {self.path} cannot be used: {error.strerror}. "
                "Choose a folder that this user may write to."
            ) from error

    def read(self) -> Marker:
        """Read the marker, or begin a new one. The lock must be held.

        Raises:
            FolderVersionError: another version wrote the folder, or the marker is damaged.
        """
        try:
            content = json.loads(self._marker.read_bytes())
            form = content.pop("form")
            written_by = content["kafka"]
            if form == _FORM and written_by == KAFKA_VERSION:
                return Marker(**content)
        except FileNotFoundError:
            marker = Marker(kafka=KAFKA_VERSION, cluster_id=_new_cluster_id(), formatted=False, port=0)
            self.write(marker)
            return marker
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FolderVersionError(
                f"{self._marker} is damaged, so it is not known which Kafka wrote this folder. "
                "Restore the folder from a backup, or choose another one."
            ) from error
        raise FolderVersionError(
            f"The Kafka data folder {self.path} was written by Apache Kafka {written_by} ({form}); this todoke runs "
            f"Apache Kafka {KAFKA_VERSION} ({_FORM}). Use the todoke that wrote it, or choose another data folder."
        )

    def write(self, marker: Marker) -> None:
        """Replace the marker, in one step that a crash cannot halve."""
        new = self._marker.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump({"form": _FORM} | asdict(marker), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._marker)

    def note(self, marker: Marker, *, formatted: bool | None = None, port: int | None = None) -> Marker:
        """Keep what has changed since the marker was read, and give it as it is now."""
        now = replace(
            marker,
            formatted=marker.formatted if formatted is None else formatted,
            port=marker.port if port is None else port,
        )
        if now != marker:
            self.write(now)
        return now


def _new_cluster_id() -> str:
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode("ascii")
        if not text.startswith("-"):  # Kafka's own command line would take it for an option
            return text
