"""The journal's file, with a real disk below it."""

import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.journal.entries import Entry
from ingest.journal.store import FILE, StorageError, Store
from streams.contracts.errors import ConfigurationError


def entry(chunk: int = 1, content: bytes = b"content", *, run: int = 1, post: int = 1) -> Entry:
    return Entry(
        chunk=chunk, shard=0, run=run, first_post=post, last_post=post, posts=1, accepted_at=5, content=content
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path)
    opened.begin_run("i")
    yield opened
    opened.close()


def test_what_was_committed_is_there_after_a_new_start(tmp_path: Path, store: Store) -> None:
    store.note_shards(12)
    store.commit([entry(1, b"a"), entry(2, b"b"), entry(1, b"c", post=4)], [], [])
    store.close()
    again = Store.open(tmp_path)
    assert again.shards == 12
    one, two = again.chunks()
    assert (one.number, one.first_post, one.last_post, one.posts, one.size) == (1, 1, 4, 2, 2 * (1 + 128))
    assert (again.read(1), again.read(2)) == ([b"a", b"c"], [b"b"])
    again.commit([], [one], [])
    assert [chunk.number for chunk in again.chunks()] == [two.number]
    assert [(run.instance, run.last_post) for run in again.runs()] == [("i", 4)]
    again.commit([], [], [1])
    assert again.runs() == []
    again.close()


def test_only_one_process_has_it(tmp_path: Path, store: Store) -> None:
    store.commit([entry()], [], [])
    with pytest.raises(ConfigurationError, match="in use by another process: give each ingest process a folder"):
        Store.open(tmp_path)
    code = f"from pathlib import Path; from ingest.journal.store import Store; Store.open(Path({str(tmp_path)!r}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"in use by another process" in ended.stderr


def test_a_kill_leaves_what_was_committed_and_frees_it(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from ingest.journal.entries import Entry
from ingest.journal.store import Store
store = Store.open(Path({str(tmp_path)!r}))
run = store.begin_run("i")
same = dict(shard=0, run=run.id, first_post=1, last_post=1, posts=1, accepted_at=0, content=b"x" * 9999)
store.commit([Entry(chunk=1, **same), Entry(chunk=2, **same)], [], [])
with store._transaction():
    store._connection.execute("delete from entries")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -signal.SIGKILL
    store = Store.open(tmp_path)
    assert [chunk.number for chunk in store.chunks()] == [1, 2]
    store.close()


def test_a_damaged_file_is_told_and_stays_as_it_is(tmp_path: Path, store: Store) -> None:
    store.commit([entry(content=b"marked" * 100)], [], [])
    store.close()
    path = tmp_path / FILE
    whole = path.read_bytes()
    for damaged in (
        whole.replace(b"marked", b"market", 1),  # the content
        whole[:4096],  # cut short
        b"SQLite format 3" + bytes(len(whole)),
        b"something else" * 1000,
    ):
        path.write_bytes(damaged)
        with pytest.raises(ConfigurationError, match=r"is damaged \(.*\). Posts in it were accepted"):
            _open_and_look(tmp_path)
        assert path.read_bytes() == damaged
    path.write_bytes(whole)
    _open_and_look(tmp_path)


def test_what_is_damaged_after_the_start_is_not_sent(store: Store) -> None:
    store.commit([entry(1, b"a"), entry(2, b"b")], [], [])
    store._connection.execute("update entries set content = x'00' where chunk = 2")
    assert store.read(1) == [b"a"]
    with pytest.raises(ConfigurationError, match=r"is damaged \(the checksum of an entry of chunk 2 is wrong\)"):
        store.read(2)


def _open_and_look(folder: Path) -> None:
    store = Store.open(folder)
    try:
        store.chunks()
    finally:
        store.close()


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE)
    other.execute("create table t (x)")
    other.close()
    with pytest.raises(ConfigurationError, match="a database of something else"):
        Store.open(tmp_path)


def test_a_file_of_another_layout_is_told(tmp_path: Path, store: Store) -> None:
    store.close()
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("pragma user_version = 99")
    other.close()
    with pytest.raises(ConfigurationError, match="has layout 99"):
        Store.open(tmp_path)


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"cannot be opened .* set ingest\.journal"):
        Store.open(tmp_path / "file")


def test_a_disk_that_is_nearly_full_refuses_and_leaves_room_to_clear_up(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    store = Store.open(tmp_path, reserve=2 * free)
    store.begin_run("i")
    with pytest.raises(StorageError, match="is nearly full"):
        store.commit([entry()], [], [])
    store.commit([], [], [1])
    assert (store.chunks(), store.runs()) == ([], [])
    store.close()


def until_refused(store: Store, content: bytes) -> int:
    for number in range(1, 1000):
        try:
            store.commit([entry(number, content)], [], [])
        except StorageError:
            return number - 1
    raise AssertionError("the disk has no end")


def test_a_disk_that_takes_no_more_loses_nothing_and_is_written_again_when_it_does(store: Store) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = bytes(range(256)) * 2000
    resource.setrlimit(resource.RLIMIT_FSIZE, (24 * 1024 * 1024, hard))
    try:
        written = until_refused(store, large)
        assert [chunk.number for chunk in store.chunks()] == list(range(1, written + 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.commit([entry(5000, large)], store.chunks()[:10], [])
    assert [chunk.number for chunk in store.chunks()] == [*range(11, written + 1), 5000]
    assert all(store.read(number) == [large] for number in range(11, written + 1))


def test_a_start_on_a_disk_that_takes_nothing_is_told_as_what_may_heal(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(StorageError, match="cannot be used"):
            Store.open(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store = Store.open(tmp_path)
    assert store.chunks() == []
    store.close()
