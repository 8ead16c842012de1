"""What a newcomer sees, and that the commands that are printed work as they are printed."""

import errno
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.traffic.running import INSTALLED

CHECKOUT = Path(__file__).parents[2]
LAST = "the next start finds it again"
FREE = ("--http-port", "0", "--kafka-port", "0", "--clickhouse-port", "0")


@contextmanager
def demonstration(folder: Path) -> Iterator[str]:
    """Run the demonstration; give what it printed, and stop it with Ctrl-C's signal."""
    with (
        (folder / "log").open("ab") as log,
        subprocess.Popen(
            [str(INSTALLED), "up", "--demo", *FREE], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if LAST in line:
                    break
            yield "".join(lines)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


def printed_command(text: str, name: str) -> str:
    found = re.search(rf"^  {name} +(.+)$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


def run(command: str, folder: Path) -> str:
    ended = subprocess.run(  # noqa: S602 - a shell is what a newcomer pastes it into
        command, shell=True, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.timeout(300)
def test_a_newcomer_sees_lifecycles_and_three_commands_that_work(tmp_path: Path) -> None:
    with demonstration(tmp_path) as text:
        assert "11 recorded posts with 13 events: 13 new, 0 duplicates, 0 unreadable" in text
        assert re.search(r"^cmc +no-user@example\.jp +bounced", text, re.MULTILINE)
        assert text.splitlines().index("ready") > 0

        assert "1 accepted" in run(printed_command(text, "post one"), tmp_path)
        assert re.search(r"bounced +│ +2", run(printed_command(text, "query"), tmp_path))
        assert len(run(printed_command(text, "consume"), tmp_path).splitlines()) >= 7

    with demonstration(tmp_path) as text:
        assert "0 new, 13 duplicates" in text
        assert "nothing counts twice" in text

    log = (tmp_path / "log").read_text()
    assert log.count("0001_events") == 1, "what was done is told once"
    assert "[^" not in log, "Faust's services are no concern of who runs todoke"


@pytest.mark.timeout(300)
def test_make_ends_well_after_ctrl_c_in_a_terminal(tmp_path: Path) -> None:
    ports = {f"TODOKE_{name}": "0" for name in ("INGEST__PORT", "LOCAL__KAFKA_PORT", "LOCAL__CLICKHOUSE_PORT")}
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(CHECKOUT)
        os.execvpe("make", ["make", "run", f"DATA={tmp_path / 'data'}"], {**os.environ, **ports})  # noqa: S606 - as typed
    said = b""
    while (block := read(terminal)) != b"":
        said += block
        if LAST.encode() in block:
            os.write(terminal, b"\x03")

    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, said.decode()
    assert b"make: ***" not in said
    assert b"stopped" in said


def read(terminal: int) -> bytes:
    """Read what a terminal shows; nothing once its program has ended, for which Linux has an error of its own."""
    try:
        return os.read(terminal, 65_536)
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise
