"""``todoke kafka``: the broker in the foreground, as a supervisor or a person runs it."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import psutil

from deploy.embedded.kafka import EmbeddedKafka
from deploy.embedded.kafka.jars import class_path, default_cache
from deploy.exit import Exit

REPOSITORY = Path(__file__).parents[3]
NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}


async def run(data: Path, **environment: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.cli",
        "kafka",
        "--port",
        "0",
        "--data",
        str(data),
        stderr=PIPE,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
    )


async def until_said(process: Process, text: str) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(60):
        async for line in process.stderr:
            if text in line.decode():
                return line.decode()
    raise AssertionError(f"it ended without saying {text!r}")


async def test_runs_without_network_once_the_jars_are_there_and_stops_when_asked(tmp_path: Path) -> None:
    await asyncio.to_thread(class_path, cache=default_cache())
    command = await run(tmp_path, **NO_NETWORK)
    said = await until_said(command, "Kafka answers on 127.0.0.1:")
    broker = int(said.rsplit(maxsplit=1)[1])
    assert psutil.Process(broker).ppid() == command.pid
    command.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await command.wait() == Exit.OK
    assert not psutil.pid_exists(broker)


async def test_the_first_fetch_without_network_says_what_to_do(tmp_path: Path) -> None:
    command = await run(tmp_path, HOME=str(tmp_path), **NO_NETWORK)
    await until_said(command, "Connect this machine to the network")
    assert await command.wait() == Exit.UNREACHABLE


async def test_a_broker_goes_with_the_process_that_started_it(tmp_path: Path) -> None:
    command = await run(tmp_path)
    broker = psutil.Process(int((await until_said(command, "Kafka answers on")).rsplit(maxsplit=1)[1]))
    command.kill()
    await command.wait()
    # Reaping an orphan is the init process's business; until then it is a zombie, which holds nothing.
    async with asyncio.timeout(10):
        while broker.is_running() and broker.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)
    # So the folder is free again at once.
    async with EmbeddedKafka(data=tmp_path / "kafka"):
        pass


async def test_a_broker_that_dies_ends_the_command_for_its_supervisor_to_see(tmp_path: Path) -> None:
    command = await run(tmp_path)
    broker = int((await until_said(command, "Kafka answers on")).rsplit(maxsplit=1)[1])
    os.kill(broker, signal.SIGKILL)
    await until_said(command, "ended with exit code -9")
    assert await command.wait() == Exit.UNREACHABLE


async def test_what_somebody_must_change_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    folder.mkdir()
    (folder / "todoke-kafka.json").write_text(json.dumps({"form": "todoke-kafka/1", "kafka": "9.9.9"}))
    command = await run(tmp_path)
    await until_said(command, "choose another data folder")
    assert await command.wait() == Exit.MISUSED
