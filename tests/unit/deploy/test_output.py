import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.output import KEPT, PrefixedOutput


def output(folder: Path, *, limit: int = 10_000) -> PrefixedOutput:
    return PrefixedOutput("worker", number=0, folder=folder, limit=limit, plain=False)


@contextmanager
def files_cannot_grow() -> Iterator[None]:
    """Let no file of this process grow, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_lines_go_to_the_terminal_behind_the_name_and_to_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = output(tmp_path)
    worker.write("届け")
    worker.close()

    assert capsys.readouterr().err == "worker          | 届け\n"
    assert (tmp_path / "worker.log").read_text(encoding="utf-8") == "届け\n"


def test_a_full_file_is_put_aside_and_old_ones_go(tmp_path: Path) -> None:
    worker = output(tmp_path, limit=2)
    for number in range(KEPT + 2):
        worker.write(str(number))
    worker.close()

    kept = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert kept == {"worker.log": "", "worker.log.1": "4\n", "worker.log.2": "3\n", "worker.log.3": "2\n"}


def test_a_full_disk_and_a_terminal_that_is_gone_end_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as gone:
        monkeypatch.setattr("sys.stderr", gone)
        worker = output(tmp_path)
        with files_cannot_grow():
            worker.write("lost")
        worker.write("kept")
        worker.close()
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # what `gone` still holds has to go somewhere

    assert (tmp_path / "worker.log").read_text(encoding="utf-8") == "kept\n"
