"""The broker's data folder: who may use it, who wrote it, and what is remembered in it."""

import base64
import json
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deploy.embedded.errors import FolderVersionError
from deploy.embedded.kafka.version import KAFKA_VERSION
from deploy.embedded.server_folder import ServerFolder, write_json

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


class DataFolder(ServerFolder):
    """One folder and its paths."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, server="Kafka")
        self.topics = self.path / "topics"
        """The logs of all partitions, Kafka's own files."""
        self.properties = self.path / "server.properties"
        """Written anew at each start."""
        self.controller_properties = self.path / "controller.properties"
        """For the start after an end that was not in order."""
        self.controller_log = self.path / "controller.log"
        """What the controller logged in the last such start."""
        self.log = self.path / "broker.log"
        """What the broker logs."""
        self.output = self.path / "java.out"
        """What Java itself has to say."""

    @property
    def ended_in_order(self) -> bool:
        """Tell whether the broker was stopped, and not killed; Kafka's own note of it, which its next start removes."""
        return (self.topics / ".kafka_cleanshutdown").exists()

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
            raise self._damaged() from error
        raise FolderVersionError(
            f"The Kafka data folder {self.path} was written by Apache Kafka {written_by} ({form}); this todoke runs "
            f"Apache Kafka {KAFKA_VERSION} ({_FORM}). Use the todoke that wrote it, or choose another data folder."
        )

    def write(self, marker: Marker) -> None:
        """Replace the marker, in one step that a crash cannot halve."""
        write_json(self._marker, {"form": _FORM} | asdict(marker))

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
