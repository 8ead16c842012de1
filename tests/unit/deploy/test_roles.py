"""A role as a process: what signals, failures and idleness make of it."""

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.exit import Exit
from deploy.ports import free_port
from tests.eventually import eventually_now

ROLE = """
import asyncio, sys, threading, time
from deploy.logs import set_up
from deploy.roles import Running, run_role
from deploy.settings import AdminSettings
from streams.contracts.errors import ConfigurationError, PublishError

kind, port = sys.argv[1], int(sys.argv[2])

class Role:
    ready = False

    async def start(self):
        if kind == "misconfigured": raise ConfigurationError("set the key")
        if kind == "unreachable": raise PublishError("start Kafka")
        self.ready = True

    async def wait(self):
        if kind == "crashing": raise ValueError("a mistake")
        await asyncio.Event().wait()

    async def stop(self, deadline):
        print("stopping", flush=True)
        if kind == "slow": await asyncio.sleep(600)
        if kind == "threaded": threading.Thread(target=time.sleep, args=(600,)).start()
        if kind == "deaf": await self.sleep_on()

    async def sleep_on(self):
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pass

    async def until_idle(self):
        return

    def readiness(self):
        return kind != "lagging" and self.ready, {"kind": kind}

set_up("test", form="text", level="info")
admin = AdminSettings(port=port)
deadline = 1 if kind == "deaf" else 20
sys.exit(run_role(Role, Running(name="test", stop_deadline=deadline, admin=admin, until_idle=kind == "idle")))
"""


@contextmanager
def role(kind: str, port: int | None = None) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", ROLE, kind, str(port or free_port())]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until_up(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if "is up" in line:
            return
    raise AssertionError("the role did not come up")


def status(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish(number: signal.Signals) -> None:
    with role("well") as process:
        until_up(process)
        process.send_signal(number)
        assert process.wait(10) == Exit.OK
        assert process.stdout is not None
        assert process.stdout.read() == "stopping\n"


def test_a_second_signal_shortens_the_deadline() -> None:
    with role("slow") as process:
        until_up(process)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == Exit.CUT_OFF


@pytest.mark.parametrize(("kind", "code"), [("threaded", Exit.OK), ("deaf", Exit.CUT_OFF)])
def test_what_hears_of_nothing_does_not_hold_the_process_up(kind: str, code: Exit) -> None:
    with role(kind) as process:
        until_up(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == code


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("misconfigured", Exit.MISUSED, "set the key"),
        ("unreachable", Exit.UNREACHABLE, "start Kafka"),
        ("crashing", Exit.FAILED, "ValueError: a mistake"),
        ("idle", Exit.OK, "nothing left to do"),
    ],
)
def test_its_exit_code_tells_why_it_ended(kind: str, code: Exit, said: str) -> None:
    with role(kind) as process:
        _, errors = process.communicate(timeout=20)
        assert process.returncode == code
        assert said in errors


def test_it_serves_its_health_and_metrics() -> None:
    port = free_port()
    with role("lagging", port) as process:
        until_up(process)
        assert eventually_now(lambda: status(port, "/healthz")) == (200, '{"status": "alive"}\n')
        assert status(port, "/readyz") == (503, '{"ready": false, "kind": "lagging"}\n')
        code, metrics = status(port, "/metrics")
        assert code == 200
        assert "python_info" in metrics
