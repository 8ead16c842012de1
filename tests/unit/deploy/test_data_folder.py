import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.data_folder import LAYOUT, DataFolder, birth
from streams.contracts.errors import ConfigurationError

HOLD = """
import sys
from pathlib import Path
from deploy.data_folder import DataFolder
with DataFolder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_folder_in_use_names_the_process_that_uses_it(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "data"), pytest.raises(ConfigurationError) as raised, DataFolder(tmp_path / "data"):
        pass

    assert f"is in use by process {os.getpid()}" in str(raised.value)
    assert "--data DIR" in str(raised.value)


def test_a_killed_process_leaves_the_folder_free(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ConfigurationError, match=str(holder.pid)), DataFolder(data):
            pass
        holder.kill()
    with DataFolder(data):
        pass


def test_another_layout_is_not_touched(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with DataFolder(data):
        pass
    (data / "layout.json").write_text(json.dumps({"layout": LAYOUT + 1}))

    with pytest.raises(ConfigurationError, match=f"has layout {LAYOUT + 1}"), DataFolder(data):
        pass


def test_somebody_elses_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")

    with pytest.raises(ConfigurationError, match="not todoke's"), DataFolder(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def fail(data: Path, begin: Callable[[DataFolder], object]) -> None:
    """Use a folder, and fail behind the beginning."""
    with DataFolder(data) as folder:
        begin(folder)
        raise ConfigurationError("it does not start")


def test_a_new_folder_goes_again_if_nothing_could_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        fail(tmp_path / "new" / "data", lambda folder: (folder.logs / "worker.log").touch())

    assert list(tmp_path.iterdir()) == []


def test_a_folder_around_it_stays_if_somebody_has_put_something_there_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="it does not start"):
        fail(tmp_path / "new" / "data", lambda _: (tmp_path / "new" / "sibling").mkdir())

    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "sibling"]


@pytest.mark.parametrize("kept", ["logs/worker.log", "letter.txt"])
def test_a_folder_that_holds_anything_stays(kept: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(ConfigurationError):
        fail(data, lambda _: (data / kept).write_text("dear"))

    assert (data / kept).read_text() == "dear"
    with DataFolder(data):
        pass


def test_a_folder_stays_in_which_something_ran(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(ConfigurationError):
        fail(data, lambda folder: folder.describe({}))
    assert data.exists()

    with pytest.raises(ConfigurationError):
        fail(data, lambda _: None)
    assert data.exists()


def test_run_json_counts_only_while_its_writer_lives(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "data") as folder:
        own = {"pid": os.getpid(), "birth": birth(os.getpid())}
        folder.describe({"processes": {"todoke": own}})
        assert folder.running() is not None

        for another in ("another", None):
            folder.describe({"processes": {"todoke": {**own, "birth": another}}})
            assert folder.running() is None
        folder.forget()
        assert folder.description() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a start that no clock moves")
def test_a_clock_that_is_set_does_not_hide_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DataFolder(tmp_path / "data") as folder:
        folder.describe({"processes": {"todoke": {"pid": os.getpid(), "birth": birth(os.getpid())}}})
        monkeypatch.setattr(psutil.Process, "create_time", lambda _: 1.0)

        assert folder.running() is not None


def test_leftovers_are_ended_and_strangers_are_not(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP) as leftover, subprocess.Popen(SLEEP) as stranger:
        try:
            with DataFolder(tmp_path / "data") as folder:
                entries = {
                    "worker": {"pid": leftover.pid, "birth": birth(leftover.pid)},
                    "ingest": {"pid": stranger.pid, "birth": "another"},
                }
                folder.describe({"processes": entries})
                assert folder.end_leftovers() == [f"worker (process {leftover.pid})"]
                assert folder.description() is None
            assert not psutil.pid_exists(leftover.pid)
            assert stranger.poll() is None
        finally:
            leftover.kill()
            stranger.kill()
