"""A whole pipeline from outside: the installed command as a process, and what may be done to it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import psutil

from deploy.data_folder import birth
from deploy.ports import free_port
from tests.eventually import eventually

INSTALLED = Path(sys.executable).with_name("todoke")
READY_WITHIN = 120.0
STOPPED_WITHIN = 90.0
ROLES = ("ingest", "worker", "sink-clickhouse", "sink-topics")


class RunningPipeline:
    """``todoke up`` in a folder, on free ports that it keeps. As a context manager: started, and stopped cleanly."""

    def __init__(
        self, data: Path, *, config: Path | None = None, todoke: Path = INSTALLED, code: Path | None = None
    ) -> None:
        """Describe it.

        Args:
            data: its folder; what it says goes into a file beside that.
            config: of another form than the default.
            todoke: the command, if another one than the one installed with the tests.
            code: folder of the packages to run instead of the installed ones.
        """
        self._env = {**os.environ, "PYTHONPATH": str(code)} if code else dict(os.environ)
        self.data = data
        self.todoke = todoke
        self.overdue: list[str] = []
        self._config = config
        self._ports: dict[str, int] = {}
        for name in ("http", "kafka", "clickhouse"):
            self._ports[name] = free_port(besides=self._ports.values())
        self._process: asyncio.subprocess.Process | None = None

    @property
    def run(self) -> dict[str, Any]:
        """What ``run.json`` says now."""
        described: dict[str, Any] = json.loads((self.data / "run.json").read_text())
        return described

    @property
    def is_running(self) -> bool:
        """Tell whether ``todoke up`` itself runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def roles(self) -> tuple[str, ...]:
        """Name its roles, without the two servers."""
        return ROLES

    @property
    def networks(self) -> dict[tuple[str, str], Any]:
        """Give what stands between a role and a server: nothing."""
        return {}

    @property
    def clocks(self) -> dict[str, Any]:
        """Give the clocks of its parts that can be set: none."""
        return {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """Tell where posts may be sent."""
        return (self.http,)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self._ports['http']}"

    @property
    def webhooks(self) -> str:
        return f"{self.http}/v1/webhooks/cmc"

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{self._ports['kafka']}"

    @property
    def clickhouse(self) -> str:
        return f"http://127.0.0.1:{self._ports['clickhouse']}"

    @property
    def output(self) -> str:
        return self.data.with_suffix(".out").read_text()

    async def start(self) -> None:
        """Return once posts are taken."""
        command = [str(self.todoke), "up", "--data", str(self.data)]
        for name, port in self._ports.items():
            command += [f"--{name}-port", str(port)]
        command += ["--config", str(self._config)] if self._config else []
        with self.data.with_suffix(".out").open("ab") as out:
            began = out.tell()
            self._process = await asyncio.create_subprocess_exec(
                *command, cwd=self.data.parent, env=self._env, stdout=out, stderr=out
            )
        try:
            await eventually(lambda: self._is_ready(began), within=READY_WITHIN)
        except AssertionError as error:
            error.add_note(self.output[-4000:])
            raise

    async def _is_ready(self, began: int) -> bool:
        assert self._process is not None
        if self._process.returncode is not None:
            raise RuntimeError(f"todoke up ended with exit code {self._process.returncode}:\n{self.output[-4000:]}")
        said = self.data.with_suffix(".out").read_bytes()[began:]
        return any(line.strip().endswith(b"ready") for line in said.splitlines())

    async def stop(self) -> int:
        """Ask for the end as a service manager does; give the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOPPED_WITHIN):
            return await self._process.wait()

    def process(self, name: str) -> psutil.Process:
        """Find a process that ``run.json`` names.

        Raises:
            LookupError: it is not running now.
        """
        try:
            entry = self.run["processes"][name]
            process = psutil.Process(entry["pid"])
            if birth(process.pid) == entry["birth"]:  # the process id alone may be another's by now
                return process
        except (FileNotFoundError, psutil.NoSuchProcess):
            pass
        raise LookupError(f"{name} is not running")

    def kill(self, name: str) -> int:
        """Kill one process, as ``run.json`` names it, with all that it started; give its process id.

        Raises:
            LookupError: it is not running now.
        """
        process = self.process(name)
        kill_family(process)
        return int(process.pid)

    async def kill_everything(self) -> None:
        """Kill all of it at once, the one that would start it again first, and wait until nothing of it is left."""
        assert self._process is not None
        family = kill_family(psutil.Process(self._process.pid))
        await self._process.wait()

        async def are_gone() -> bool:
            return not any(map(_holds_files, family))

        await eventually(are_gone, within=READY_WITHIN)

    async def until_replaced(self, name: str, pid: int) -> None:
        """Return once another process stands in the place of a killed one, and works."""
        await eventually(lambda: self._is_replaced(name, pid), within=READY_WITHIN)

    async def _is_replaced(self, name: str, pid: int | None) -> bool:
        entry = self.run["processes"].get(name, {})
        return entry.get("pid") not in {None, pid} and bool(entry.get("ready"))

    async def until_audited(self) -> None:
        """Return once the audit works, which is started behind everything else."""
        await eventually(lambda: self._is_replaced("audit", None), within=READY_WITHIN)

    async def select(self, query: str) -> list[dict[str, Any]]:
        """Ask ClickHouse over HTTP; give the rows."""
        parameters = {"default_format": "JSONEachRow", "output_format_json_quote_64bit_integers": "0"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.clickhouse, data=query, params=parameters) as answer,
        ):
            text = await answer.text()
            if answer.status != 200:
                raise OSError(f"ClickHouse answered {answer.status}: {text[:500]}")
            return [json.loads(line) for line in text.splitlines()]

    async def audit(self, *, wait: float = 120.0) -> tuple[int, str]:
        """Run ``todoke audit``; give its exit code and what it said."""
        return await self.command("audit", "--wait", str(wait))

    async def spawn(self, *arguments: str, env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start another role on this pipeline, beside those that it has; nobody starts it again."""
        with self.data.with_suffix(".extra.out").open("ab") as out:
            return await asyncio.create_subprocess_exec(
                *(str(self.todoke), *arguments, "--data", str(self.data)),
                cwd=self.data.parent,
                env={**self._env, **(env or {})},
                stdout=out,
                stderr=out,
            )

    async def command(self, name: str, *arguments: str) -> tuple[int, str]:
        """Run another command on this pipeline; give its exit code and what it said."""
        process = await asyncio.create_subprocess_exec(
            *(str(self.todoke), name, "--data", str(self.data), *arguments),
            cwd=self.data.parent,
            env=self._env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    def cpu_seconds(self) -> dict[str, float]:
        """Tell the processor time that each process and its children used so far, by its name in ``run.json``."""
        return {name: _cpu(pid) for name, pid in self.run["pids"].items() if name != "todoke"}

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            if self.is_running:  # not ready in time; nobody would end it
                await self.kill_everything()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        finally:
            assert self._process is not None
            if self._process.returncode is None:
                await self.kill_everything()


def kill_family(process: psutil.Process) -> list[psutil.Process]:
    """Kill a process and all that it started; give them all. Some of them may take a moment to die."""
    family: list[psutil.Process] = [process, *process.children(recursive=True)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    return family


def _holds_files(process: psutil.Process) -> bool:
    """Tell whether a process may still have files open: a dead one that nobody waited for has none, once its last
    thread has ended.
    """
    try:
        return bool(process.is_running()) and (process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False


def _cpu(pid: int) -> float:
    family = [psutil.Process(pid)]
    family += family[0].children(recursive=True)
    return float(sum(times.user + times.system for times in (member.cpu_times() for member in family)))
