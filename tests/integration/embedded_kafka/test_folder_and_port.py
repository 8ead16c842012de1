"""Two on one folder, a port that is taken, a folder of another version: each says what to do and harms nobody."""

import json
import socket
from pathlib import Path

import pytest

from deploy.embedded.errors import DiskFullError, FolderInUseError, FolderVersionError, PortInUseError
from deploy.embedded.kafka import EmbeddedKafka
from deploy.embedded.kafka.folder import DataFolder
from deploy.embedded.kafka.room import require_room
from streams.contracts.errors import ConfigurationError


async def test_two_on_one_folder(tmp_path: Path) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka") as first:
        with pytest.raises(FolderInUseError, match="choose another data folder") as raised:
            await EmbeddedKafka(data=tmp_path / "kafka").start()
        assert raised.value.pid == first.pid
        assert first.pid is not None

    # The lock went with the broker.
    async with EmbeddedKafka(data=tmp_path / "kafka") as second:
        second.kill()
        await second.wait()
    async with EmbeddedKafka(data=tmp_path / "kafka"):
        pass


async def test_a_port_that_was_asked_for_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match="choose another port") as raised:
            await EmbeddedKafka(data=tmp_path / "kafka", port=port).start()
        assert raised.value.port == port
        assert str(port) in str(raised.value)
    # Nothing was left behind that a later start would trip over.
    async with EmbeddedKafka(data=tmp_path / "kafka", port=port) as broker:
        assert broker.bootstrap_servers == f"127.0.0.1:{port}"


async def test_a_port_that_was_asked_for_the_controller_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"Port {port} on 127.0.0.1 is in use .* Kafka's controller cannot"):
            await EmbeddedKafka(data=tmp_path / "kafka", controller_port=port).start()
    with pytest.raises(ConfigurationError, match=f"port {port} is named for Kafka's clients and for its controller"):
        EmbeddedKafka(data=tmp_path / "kafka", port=port, controller_port=port)


async def test_a_disk_without_room(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="Make room, then start again"):
        await EmbeddedKafka(data=tmp_path / "kafka", room=2**60).start()


async def test_indexes_have_their_place_on_the_disk_before_kafka_fills_them_anew(tmp_path: Path) -> None:
    # Where a disk is full, a hole in an index has Kafka delete the segment: see `deploy.embedded.kafka.room`.
    folder = DataFolder(tmp_path / "kafka")
    async with EmbeddedKafka(data=folder.path) as broker:
        broker.kill()
        await broker.wait()
    indexes = sorted(folder.topics.glob("*/*index"))
    assert indexes
    assert any(has_holes(index) for index in indexes)
    require_room(folder.path, folder.topics)
    assert not any(has_holes(index) for index in indexes)
    async with EmbeddedKafka(data=folder.path):
        pass


def has_holes(path: Path) -> bool:
    known = path.stat()
    return known.st_blocks * 512 < known.st_size


async def test_a_remembered_port_that_is_taken_is_given_up(tmp_path: Path) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka") as broker:
        host, port = broker.bootstrap_servers.split(":")
    async with EmbeddedKafka(data=tmp_path / "kafka", controller_port=int(port)) as beside:
        assert beside.bootstrap_servers != broker.bootstrap_servers
        host, port = beside.bootstrap_servers.split(":")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, int(port)))
        other.listen()
        async with EmbeddedKafka(data=tmp_path / "kafka") as moved:
            assert moved.bootstrap_servers != beside.bootstrap_servers


async def test_a_folder_of_another_kafka(tmp_path: Path) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka"):
        pass
    marker = tmp_path / "kafka" / "todoke-kafka.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"kafka": "3.9.1"}))
    before = sorted(path.name for path in (tmp_path / "kafka" / "topics").iterdir())
    with pytest.raises(FolderVersionError, match=r"written by Apache Kafka 3\.9\.1"):
        await EmbeddedKafka(data=tmp_path / "kafka").start()
    assert sorted(path.name for path in (tmp_path / "kafka" / "topics").iterdir()) == before
