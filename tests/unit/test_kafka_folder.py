import json
import os
from pathlib import Path

import pytest

from deploy.embedded.errors import FolderInUseError, FolderVersionError
from deploy.embedded.kafka import KAFKA_VERSION
from deploy.embedded.kafka.folder import DataFolder


def test_a_new_folder_gets_a_marker_that_lasts(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "new" / "kafka")
    lock = folder.lock()
    first = folder.read()
    noted = folder.note(first, formatted=True, port=9092)
    lock.release()
    assert (first.kafka, first.formatted, first.port) == (KAFKA_VERSION, False, 0)
    assert DataFolder(tmp_path / "new" / "kafka").read() == noted
    assert noted.cluster_id == first.cluster_id


def test_the_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    first = DataFolder(tmp_path).lock()
    with pytest.raises(FolderInUseError, match="Stop the todoke that runs there") as raised:
        DataFolder(tmp_path).lock()
    assert raised.value.pid == os.getpid()
    first.release()
    first.release()
    DataFolder(tmp_path).lock().release()


def test_a_shared_lock_ends_with_the_last_who_holds_it(tmp_path: Path) -> None:
    first = DataFolder(tmp_path).lock()
    childs = os.dup(first.descriptor)
    first.release()
    with pytest.raises(FolderInUseError):
        DataFolder(tmp_path).lock()
    os.close(childs)
    DataFolder(tmp_path).lock().release()


@pytest.mark.parametrize("change", [{"kafka": "4.2.0"}, {"form": "todoke-kafka/2"}])
def test_a_folder_of_another_version_says_which(tmp_path: Path, change: dict[str, str]) -> None:
    folder = DataFolder(tmp_path)
    lock = folder.lock()
    folder.read()
    marker = tmp_path / "todoke-kafka.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | change))
    with pytest.raises(
        FolderVersionError, match="Use the todoke that wrote it, or choose another data folder"
    ) as raised:
        folder.read()
    lock.release()
    assert next(iter(change.values())) in str(raised.value)
    assert KAFKA_VERSION in str(raised.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", f'{{"form": "todoke-kafka/1", "kafka": "{KAFKA_VERSION}"}}'])
def test_a_damaged_marker_is_not_guessed_at(tmp_path: Path, content: str) -> None:
    folder = DataFolder(tmp_path)
    lock = folder.lock()
    (tmp_path / "todoke-kafka.json").write_text(content)
    with pytest.raises(FolderVersionError, match="damaged"):
        folder.read()
    lock.release()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(FolderVersionError, match="Choose an empty or a new folder"):
        DataFolder(tmp_path).lock()
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_path_that_is_no_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderVersionError, match="cannot be used"):
        DataFolder(tmp_path / "file").lock()
