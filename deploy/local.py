"""The whole pipeline on one machine: Kafka, ClickHouse and every role as child processes, kept alive.

Start, each step behind the one that it needs:

1. Take the data folder, end what a killed predecessor left, choose ports.
2. Fetch Kafka's jars, the first time.
3. Start Kafka and ClickHouse.
4. Make topics and tables.
5. Start the sinks, the worker and ingest.

Stop, in the direction of the flow, so that each part can hand on what it holds: ingest, worker, sinks, ClickHouse,
Kafka. All of it shares one deadline; what is still there then is killed, and loses nothing.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from deploy.data_folder import DataFolder, started_at
from deploy.environment import Environment, for_child
from deploy.fetching import fetch_broker
from deploy.output import PrefixedOutput
from deploy.ports import chosen_port, free_port
from deploy.probe import http_status, listens
from deploy.settings import Settings
from deploy.stores import make_ready
from deploy.supervisor import Child, Launch, Policy
from deploy.version import VERSION
from ingest.settings import check as check_ingest
from streams.contracts.clock import Clock, Deadline, SystemClock, rfc3339

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
STORES = ("kafka", "clickhouse")
SINKS = ("sink-clickhouse", "sink-topics")
START_ORDER = (*STORES, *SINKS, "worker", "ingest")
STOP_ORDER = (("ingest",), ("worker",), SINKS, ("clickhouse",), ("kafka",))
SHARE = 0.75
"""Of the time that is left, what one step of stopping may use, so that every later step has some."""


class LocalPipeline:
    """One pipeline in one data folder."""

    def __init__(self, environment: Environment, *, data: DataFolder, clock: Clock | None = None) -> None:
        """Choose ports; nothing starts yet. The folder must be held.

        Raises:
            ConfigurationError: a port is in use, or the sources may not be served like this.
        """
        self.settings: Settings = environment.settings
        self._file = environment.file
        self._data = data
        self._clock = clock or SystemClock()
        self._started = self._clock.now()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        check_ingest(self.settings.ingest, self.settings.sources)
        local, ingest = self.settings.local, self.settings.ingest
        self.kafka_port = chosen_port(LOOPBACK, local.kafka_port, purpose="Kafka", flag="--kafka-port")
        self.clickhouse_port = chosen_port(
            LOOPBACK, local.clickhouse_port, purpose="ClickHouse", flag="--clickhouse-port"
        )
        self.http_port = chosen_port(ingest.host, ingest.port, purpose="webhooks", flag="--http-port")
        self._admin_ports: dict[str, int] = {}
        self._outputs: list[PrefixedOutput] = []
        self._children = {
            name: self._child(name, number, launch) for number, (name, launch) in enumerate(self._programs().items())
        }

    @property
    def http(self) -> str:
        """Where webhooks go."""
        host = self.settings.ingest.host
        return f"http://{LOOPBACK if host in ('0.0.0.0', '::') else host}:{self.http_port}"  # noqa: S104 - compared, not bound

    @property
    def kafka(self) -> str:
        """Where Kafka's clients connect."""
        return f"{LOOPBACK}:{self.kafka_port}"

    @property
    def clickhouse(self) -> str:
        """Where ClickHouse's clients connect."""
        return f"http://{LOOPBACK}:{self.clickhouse_port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the pipeline for the length of the block, which begins once posts are taken.

        Raises:
            TodokeError: a part did not come to life; everything was stopped again.
        """
        self._listen()
        try:
            await self.unless_stopped(self._start())
            yield
        finally:
            await self._stop()

    async def wait(self) -> None:
        """Return when a signal asked for the end.

        Raises:
            TodokeError: a part was given up.
        """
        await self.unless_stopped(asyncio.gather(*(child.failed() for child in self._children.values())))

    @property
    def is_stopping(self) -> bool:
        """Tell whether a signal asked for the end."""
        return self._stopping.is_set()

    async def _start(self) -> None:
        for leftover in self._data.end_leftovers():
            logger.warning("ended %s, which an earlier `todoke up` had left running", leftover)
        await fetch_broker()
        await self._bring_up(STORES)
        await make_ready(self.own_settings())
        await self._bring_up(("worker", *SINKS, "ingest"))

    async def _bring_up(self, names: Sequence[str]) -> None:
        began = self._clock.monotonic()
        for name in names:
            self._children[name].start()
        await asyncio.gather(*(self._children[name].until_ready() for name in names))
        logger.info("%s ready after %.1f s", ", ".join(names), self._clock.monotonic() - began)

    async def _stop(self) -> None:
        deadline = Deadline(self.settings.local.stop_deadline, self._clock)
        logger.info("stopping; within %.0f s", deadline.remaining())
        for names in STOP_ORDER:
            share = 1.0 if self._hurry.is_set() else max(1.0, deadline.remaining() * SHARE)
            step = Deadline(share, self._clock)
            await asyncio.gather(*(self._children[name].stop(step) for name in names))
        self._data.forget()
        for output in self._outputs:
            output.close()
        logger.info("stopped")

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._hear)

    def _hear(self) -> None:
        (self._hurry if self._stopping.is_set() else self._stopping).set()

    async def unless_stopped(self, work: Awaitable[Any]) -> None:
        """Do the work until it is done or a signal asks for the end."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            for one in (task, stop):
                one.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    def _programs(self) -> dict[str, Callable[[], Launch]]:
        data = ["--data", str(self._data.path)]
        kafka = ["kafka", *data, "--port", str(self.kafka_port)]
        clickhouse = ["clickhouse", *data, "--port", str(self.clickhouse_port)]
        return {
            "kafka": lambda: self._launch(kafka, ready=partial(listens, LOOPBACK, self.kafka_port)),
            "clickhouse": lambda: self._launch(
                clickhouse, ready=partial(_says_ok, LOOPBACK, self.clickhouse_port, "/ping")
            ),
            "sink-clickhouse": lambda: self._role("sink-clickhouse", "sink", "clickhouse"),
            "sink-topics": lambda: self._role("sink-topics", "sink", "topics"),
            "worker": lambda: self._role("worker", "worker"),
            "ingest": lambda: self._launch(
                ["ingest"],
                ready=partial(_says_ok, self._ingest_host(), self.http_port, "/readyz"),
                settings={"ingest.port": self.http_port},
            ),
        }

    def _ingest_host(self) -> str:
        host = self.settings.ingest.host
        return LOOPBACK if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound

    def _role(self, name: str, *command: str) -> Launch:
        """Start a role with an admin port of its own, another one each time, in case the last one was taken since."""
        self._admin_ports[name] = port = free_port(LOOPBACK)
        return self._launch(
            command,
            ready=partial(_says_ok, LOOPBACK, port, "/readyz"),
            settings={"admin.host": LOOPBACK, "admin.port": port},
        )

    def _launch(
        self, command: Sequence[str], *, ready: Callable[[], Awaitable[bool]], settings: Mapping[str, Any] | None = None
    ) -> Launch:
        # -P keeps the current folder, where anything may lie, out of the module search path.
        argv = [sys.executable, "-P", "-m", "deploy.cli", *command]
        variables = for_child({**self._addresses(), **self._instances(), **self._log_settings(), **(settings or {})})
        if self._file is not None:
            variables["TODOKE_CONFIG"] = str(self._file.absolute())
        return Launch(argv=argv, env=variables, ready=ready)

    def _child(self, name: str, number: int, launch: Callable[[], Launch]) -> Child:
        local = self.settings.local
        output = PrefixedOutput(
            name,
            number=number,
            folder=self._data.logs,
            limit=local.log_limit,
            plain=self.settings.log.format == "json",
        )
        self._outputs.append(output)
        policy = Policy(
            start_deadline=local.start_deadline,
            pause=local.restart_pause,
            pause_limit=local.restart_pause_limit,
            healthy_after=local.healthy_after,
            give_up_after=local.give_up_after,
        )
        return Child(name, launch, policy=policy, output=output, changed=self._describe, clock=self._clock)

    def _addresses(self) -> dict[str, Any]:
        """Say where this pipeline's Kafka and ClickHouse are, as settings by dotted key."""
        return {
            "kafka.bootstrap_servers": self.kafka,
            "kafka.security_protocol": "PLAINTEXT",
            "clickhouse.host": LOOPBACK,
            "clickhouse.port": self.clickhouse_port,
            "clickhouse.database": self.settings.clickhouse.database,
            "clickhouse.secure": False,
            "topics.prefix": self.settings.topics.prefix,
            "topics.shards": self.settings.topics.shards,
            "topics.horizon_days": self.settings.topics.horizon_days,
            "topics.replication_factor": 1,
            "topics.fsync": True,
        }

    def _instances(self) -> dict[str, Any]:
        """Name the members of consumer groups: a part that comes back after a kill gets its partitions at once."""
        return {f"{section}.instance": "local" for section in ("worker", "sink.clickhouse", "sink.topics")}

    def _log_settings(self) -> dict[str, Any]:
        return {"log.format": self.settings.log.format, "log.level": self.settings.log.level}

    def own_settings(self) -> Settings:
        """Give the settings as the children have them."""
        kafka = type(self.settings.kafka)(bootstrap_servers=self.kafka)
        topics = self.settings.topics.model_copy(update={"replication_factor": 1, "fsync": True})
        clickhouse = self.settings.clickhouse.model_copy(
            update={"host": LOOPBACK, "port": self.clickhouse_port, "secure": False}
        )
        return self.settings.model_copy(update={"kafka": kafka, "topics": topics, "clickhouse": clickhouse})

    def _describe(self) -> None:
        processes: dict[str, dict[str, Any]] = {"todoke": {"pid": os.getpid(), "created": started_at(os.getpid())}}
        for name, child in self._children.items():
            if child.pid is not None:
                processes[name] = {
                    "pid": child.pid,
                    "created": started_at(child.pid),
                    "ready": child.is_ready,
                    "restarts": child.restarts,
                }
        admin = {name: f"http://{LOOPBACK}:{port}" for name, port in self._admin_ports.items()}
        ports = {"http": self.http_port, "kafka": self.kafka_port, "clickhouse": self.clickhouse_port}
        self._data.describe(
            {
                "version": VERSION,
                "started_at": rfc3339(self._started),
                "data": str(self._data.path),
                "config": None if self._file is None else str(self._file.absolute()),
                "addresses": {
                    "http": self.http, "kafka": self.kafka, "clickhouse": self.clickhouse, "admin": admin,
                },
                "ports": {**ports, **self._admin_ports},
                "pids": {name: entry["pid"] for name, entry in processes.items()},
                "processes": processes,
                "settings": {**self._addresses(), "ingest.port": self.http_port},
            }
        )  # fmt: skip


async def _says_ok(host: str, port: int, path: str) -> bool:
    return await http_status(host, port, path) == 200  # noqa: PLR2004 - HTTP's own word for ok
