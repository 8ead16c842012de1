"""The pipeline as on many machines: every role several times, each behind a bad network of its own.

Stands beside `tests.traffic.running.RunningPipeline`, with the same surface: the roles are the installed command's, and
what starts them again when they die is this module, in the place of a service manager.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import psutil

from deploy.embedded.child import start_child
from deploy.ports import free_port
from tests.chaos.clocks import Clock, library, sweep
from tests.chaos.proxy import Proxy
from tests.eventually import eventually
from tests.traffic.running import INSTALLED, kill_family

READY_WITHIN = 180.0
STOP_WITHIN = 40.0
"""Seconds that a process has for ending when it is told to; then it is killed, as a service manager would."""
PAUSE = 0.5
"""Seconds until a process that ended is started again."""
SHARDS = 4
SERVERS = ("kafka", "clickhouse")
COPIES = 2
"""Of each role."""
STOP_ORDER = ("ingest", "worker", "sink-clickhouse", "sink-topics", "clickhouse", "kafka")


@dataclass(slots=True)
class _Member:
    """One process that is kept alive."""

    argv: list[str]
    port: int
    """Where it says whether it is ready."""
    env: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    ready: bool = False
    keeper: asyncio.Task[None] | None = None


class Fleet:
    """Kafka, ClickHouse and two of each role. As a context manager: started, and stopped cleanly."""

    def __init__(
        self,
        data: Path,
        *,
        config: Path,
        seed: object,
        todoke: Path = INSTALLED,
        code: Path | None = None,
        with_clocks: bool = False,
    ) -> None:
        """Describe it.

        Args:
            data: its folder.
            config: sources and other settings.
            seed: the networks' moods depend on it.
            todoke: the command.
            code: folder of the packages to run instead of the installed ones.
            with_clocks: clocks can be set, where the library for that is found.
        """
        self._code = {"PYTHONPATH": str(code)} if code else {}
        self.data = data
        self.overdue: list[str] = []
        self._todoke = todoke
        self._config = config
        self._ports: set[int] = set()
        self._kafka_port, self._clickhouse_port = self._pick_port(), self._pick_port()
        self._kafka_options = ("--port", str(self._kafka_port), "--controller-port", str(self._pick_port()))
        self._members: dict[str, _Member] = {}
        self._stopping = False
        self._running = False
        self._open = AsyncExitStack()
        roles = ("ingest", "worker", "sink-clickhouse", "sink-topics")
        self._roles = tuple(f"{role}-{number}" for role in roles for number in range(1, COPIES + 1))
        self._networks = {
            (name, server): Proxy(port, kafka=server == "kafka", seed=f"{seed}.{name}.{server}")
            for name in self._roles
            for server, port in (("kafka", self._kafka_port), ("clickhouse", self._clickhouse_port))
            if server == "kafka" or name.startswith("sink-clickhouse")
        }
        self._clocks: dict[str, Clock] = {}
        self._with_clocks = with_clocks
        self._ingest_ports = {name: self._pick_port() for name in self._roles if name.startswith("ingest")}

    def _pick_port(self) -> int:
        port = free_port(besides=self._ports)
        self._ports.add(port)
        return port

    @property
    def addresses(self) -> tuple[str, ...]:
        """Tell where posts may be sent."""
        return tuple(f"http://127.0.0.1:{port}" for port in self._ingest_ports.values())

    @property
    def roles(self) -> tuple[str, ...]:
        """Name its roles, without the two servers."""
        return self._roles

    @property
    def networks(self) -> Mapping[tuple[str, str], Proxy]:
        """Give what stands between a role and a server, by both names."""
        return self._networks

    @property
    def clocks(self) -> Mapping[str, Clock]:
        """Give the clocks of its parts that can be set."""
        return self._clocks

    @property
    def kafka(self) -> str:
        return f"127.0.0.1:{self._kafka_port}"

    @property
    def clickhouse(self) -> str:
        return f"http://127.0.0.1:{self._clickhouse_port}"

    @property
    def is_running(self) -> bool:
        return self._running

    @property
    def output(self) -> str:
        """The last words of every process."""
        logs = sorted((self.data / "logs").glob("*.log"))
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-600:]}" for log in logs)

    @property
    def run(self) -> Mapping[str, Any]:
        """What runs, in the form of ``run.json``."""
        running = {name: one for name, one in self._members.items() if one.process is not None}
        processes = {
            name: {"pid": one.process.pid, "ready": one.ready}
            for name, one in running.items()
            if one.process is not None
        }
        return {"processes": processes, "pids": {name: entry["pid"] for name, entry in processes.items()}}

    def process(self, name: str) -> psutil.Process:
        """Find the process of a member.

        Raises:
            LookupError: it is not running now.
        """
        member = self._members.get(name)
        if member is None or member.process is None or member.process.returncode is not None:
            raise LookupError(f"{name} is not running")
        return psutil.Process(member.process.pid)

    def kill(self, name: str) -> int:
        """Kill one member with all that it started; give its process id."""
        process = self.process(name)
        kill_family(process)
        return int(process.pid)

    async def start(self) -> None:
        """Return once posts are taken."""
        self._stopping = False
        for folder in ("logs", "clocks"):
            (self.data / folder).mkdir(parents=True, exist_ok=True)
        self._clocks = self._clocks or self._make_clocks()
        await self._bring_up("kafka", ["kafka", *self._kafka_options], port=0)
        await self._bring_up("clickhouse", ["clickhouse", "--port", str(self._clickhouse_port)], port=0)
        await self._make_stores()
        async with asyncio.TaskGroup() as group:
            for name in self.roles:
                kind, number = name.rsplit("-", 1)
                group.create_task(self._bring_up(name, *self._role(name, kind, number)))
        self._running = True

    def _role(self, name: str, kind: str, number: str) -> tuple[list[str], int, dict[str, str]]:
        env = {"TODOKE_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{self.networks[name, 'kafka'].port}"}
        if kind == "ingest":
            port = self._ingest_ports[name]
            env["TODOKE_INGEST__JOURNAL"] = str(self.data / "journal" / number)
            return ["ingest", "--port", str(port)], port, env
        port = self._pick_port()
        command = {"worker": ["worker"], "sink-clickhouse": ["sink", "clickhouse"], "sink-topics": ["sink", "topics"]}
        section = {"worker": "WORKER", "sink-clickhouse": "SINK__CLICKHOUSE", "sink-topics": "SINK__TOPICS"}
        env[f"TODOKE_{section[kind]}__INSTANCE"] = number
        if kind == "sink-clickhouse":
            env["TODOKE_CLICKHOUSE__PORT"] = str(self.networks[name, "clickhouse"].port)
        return [*command[kind], "--admin-port", str(port)], port, env

    def _make_clocks(self) -> dict[str, Clock]:
        found = library() if self._with_clocks else None
        parts = [name for name in (*self._roles, "clickhouse") if not name.startswith("worker")]
        return {name: Clock(self.data / "clocks" / name, found) for name in parts if found}

    async def _make_stores(self) -> None:
        for name in ("topics", "migrate"):

            async def made(name: str = name) -> bool:
                code, said = await self.command(name)
                if code:
                    raise OSError(f"todoke {name}: {said}")
                return True

            await eventually(made, within=READY_WITHIN)

    async def _bring_up(self, name: str, command: list[str], port: int, env: Mapping[str, str] | None = None) -> None:
        member = self._members.get(name)
        if member is None or member.keeper is None:
            clock = self._clocks[name].env if name in self._clocks else {}
            env = self._env() | clock | dict(env or {})
            member = _Member(argv=[str(self._todoke), *command], port=port, env=env)
            self._members[name] = member
            member.keeper = asyncio.create_task(self._keep(name, member))

        async def is_ready() -> bool:
            return member.ready

        await eventually(is_ready, within=READY_WITHIN)

    def _env(self) -> dict[str, str]:
        return {
            **os.environ,
            **self._code,
            "TODOKE_CONFIG": str(self._config),
            "TODOKE_DATA": str(self.data),
            "TODOKE_KAFKA__BOOTSTRAP_SERVERS": self.kafka,
            "TODOKE_CLICKHOUSE__PORT": str(self._clickhouse_port),
            "TODOKE_TOPICS__SHARDS": str(SHARDS),
            "TODOKE_TOPICS__REPLICATION_FACTOR": "1",
        }

    async def _keep(self, name: str, member: _Member) -> None:
        while not self._stopping:
            member.ready = False
            log = self.data / "logs" / f"{name}.log"
            member.process = process = await start_child(member.argv, env=member.env, log_path=log)
            probe = asyncio.create_task(self._probe(name, member))
            await process.wait()
            probe.cancel()
            sweep(process.pid)
            member.ready = False
            await asyncio.sleep(PAUSE)

    async def _probe(self, name: str, member: _Member) -> None:
        while not member.ready:
            await asyncio.sleep(0.1)
            with contextlib.suppress(OSError, TimeoutError, aiohttp.ClientError):
                if name == "kafka":
                    _, writer = await asyncio.open_connection("127.0.0.1", self._kafka_port)
                    writer.close()
                    member.ready = True
                    return
                port, path = (self._clickhouse_port, "ping") if name == "clickhouse" else (member.port, "readyz")
                timeout = aiohttp.ClientTimeout(total=2)
                async with (
                    aiohttp.ClientSession(timeout=timeout) as session,
                    session.get(f"http://127.0.0.1:{port}/{path}") as answer,
                ):
                    member.ready = answer.status == 200

    async def stop(self) -> int:
        """End every member in the direction of the flow; kill what does not end in time, and note it."""
        self._stopping = True
        self._running = False
        for kind in STOP_ORDER:
            names = [name for name in self._members if name == kind or name.rpartition("-")[0] == kind]
            for name in names:
                with contextlib.suppress(LookupError, psutil.NoSuchProcess):
                    self.process(name).send_signal(signal.SIGTERM)
            await asyncio.gather(*(self._ended(name) for name in names))
        self._members.clear()
        return 0

    async def _ended(self, name: str) -> None:
        member = self._members[name]
        assert member.process is not None
        try:
            await asyncio.wait_for(member.process.wait(), STOP_WITHIN)
        except TimeoutError:
            self.overdue.append(name)
            with contextlib.suppress(LookupError, psutil.NoSuchProcess):
                kill_family(self.process(name))
        if member.keeper is not None:
            await member.keeper

    async def kill_everything(self) -> None:
        """Kill all of it at once."""
        self._stopping = True
        self._running = False
        for name in self._members:
            with contextlib.suppress(LookupError, psutil.NoSuchProcess):
                kill_family(self.process(name))
        for member in self._members.values():
            if member.keeper is not None:
                await member.keeper
        self._members.clear()

    async def spawn(self, *arguments: str, env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start the command beside the members; nobody starts it again."""
        log = self.data / "logs" / "extra.log"
        return await start_child([str(self._todoke), *arguments], env=self._env() | dict(env or {}), log_path=log)

    async def audit(self, *, wait: float = 120.0) -> tuple[int, str]:
        """Run ``todoke audit``; give its exit code and what it said."""
        return await self.command("audit", "--wait", str(wait))

    async def command(self, name: str, *arguments: str) -> tuple[int, str]:
        """Run another command on this pipeline; give its exit code and what it said."""
        process = await asyncio.create_subprocess_exec(
            *(str(self._todoke), name, *arguments),
            env=self._env(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    async def __aenter__(self) -> Self:
        for network in self.networks.values():
            await self._open.enter_async_context(network)
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._running:
                await self.stop()
        finally:
            await self.kill_everything()
            await self._open.aclose()
