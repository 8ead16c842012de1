"""The whole pipeline on one machine: Kafka, ClickHouse and every role as child processes, kept alive.

Start, each step behind the one that it needs:

1. End what a killed predecessor left running.
2. Fetch Kafka's jars, the first time.
3. Start Kafka and ClickHouse.
4. Make topics and tables.
5. Start the sinks, the workers and ingest, and the audit behind them.

Stop, in the direction of the flow, so that each part can hand on what it holds: audit, ingest, workers, sinks,
ClickHouse, Kafka. All of it shares one deadline; what is still there then is killed, and loses nothing. A second signal
leaves each step a moment.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from deploy.data_folder import DataFolder, birth
from deploy.environment import DEFAULT, Environment
from deploy.fetching import fetch_broker
from deploy.output import PrefixedOutput
from deploy.ports import LOOPBACK, http_url
from deploy.programs import SINKS, Kind, Ports, Programs, journal_folder
from deploy.roles import ShrinkingDeadline
from deploy.schema import dotted, values
from deploy.settings import Settings
from deploy.stores import make_ready
from deploy.supervisor import Child, Launch, Policy
from deploy.version import VERSION
from ingest.settings import check as check_ingest
from streams.contracts.clock import Clock, Deadline, SystemClock, rfc3339
from streams.contracts.errors import ConfigurationError

logger = logging.getLogger(__name__)

STOP_ORDER = ((Kind.AUDIT,), (Kind.INGEST,), (Kind.WORKER,), SINKS, (Kind.CLICKHOUSE,), (Kind.KAFKA,))
SHARE = 0.75
"""Of the time that is left, what one step of stopping may use, so that every later step has some."""
STORES = ("kafka.", "clickhouse.")
"""How settings of Kafka and ClickHouse begin."""
HURRY = 2.0
"""Seconds for each step of stopping after a second signal. A role that hears it ends within one."""


class LocalPipeline:
    """One pipeline in one data folder."""

    def __init__(self, environment: Environment, *, data: DataFolder, clock: Clock | None = None) -> None:
        """Choose ports; nothing starts yet. The folder must be held.

        Raises:
            ConfigurationError: a port is in use, the sources may not be served like this, or another Kafka or
                ClickHouse is named.
        """
        settings = environment.settings
        _check_numbers(settings)
        journal = journal_folder(settings, data.path)
        check_ingest(settings.ingest.model_copy(update={"journal": journal}), settings.sources)
        self.programs = Programs(settings=settings, file=environment.file, data=data.path, ports=Ports.chosen(settings))
        _check_addresses(environment, self.programs.addresses)
        self._local = settings.local
        self._file = environment.file
        self._data = data
        self._clock = clock or SystemClock()
        self._started = self._clock.now()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._outputs: list[PrefixedOutput] = []
        self._is_clean = True
        self._children = {
            name: self._child(name, number, program.launch)
            for number, (name, program) in enumerate(self.programs.all().items())
        }

    @property
    def settings(self) -> Settings:
        """The settings as the children have them."""
        return self.programs.settings

    @property
    def is_stopping(self) -> bool:
        """Tell whether a signal asked for the end."""
        return self._stopping.is_set()

    @property
    def is_clean(self) -> bool:
        """Tell whether every part stopped by itself; known once stopped."""
        return self._is_clean

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the pipeline for the length of the block, which begins once posts are taken, or a signal came.

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

    async def unless_stopped(self, work: Awaitable[Any]) -> None:
        """Do some work until it is done or a signal asks for the end."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            for one in (task, stop):
                one.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    async def _start(self) -> None:
        # 1.
        for leftover in self._data.end_leftovers():
            logger.warning("ended %s, which an earlier `todoke up` had left running", leftover)
        # 2.
        await fetch_broker()
        # 3.
        await self._bring_up(Kind.KAFKA, Kind.CLICKHOUSE)
        # 4.
        await make_ready(self.settings, patience=self._local.start_deadline)
        # 5.
        await self._bring_up(*SINKS, Kind.WORKER, Kind.INGEST)
        for name in self.programs.names(Kind.AUDIT):
            self._children[name].start()

    async def _bring_up(self, *kinds: Kind) -> None:
        names = self.programs.names(*kinds)
        began = self._clock.monotonic()
        for name in names:
            self._children[name].start()
        await asyncio.gather(*(self._children[name].until_ready() for name in names))
        logger.info("%s ready after %.1f s", ", ".join(names), self._clock.monotonic() - began)

    async def _stop(self) -> None:
        deadline = Deadline(self._local.stop_deadline, self._clock)
        logger.info("stopping; within %.0f s", deadline.remaining())
        for kinds in STOP_ORDER:
            await self._stop_together([self._children[name] for name in self.programs.names(*kinds)], deadline)
        self._data.forget()
        for output in self._outputs:
            output.close()
        logger.info("stopped")

    async def _stop_together(self, children: Sequence[Child], deadline: Deadline) -> None:
        share = HURRY if self._hurry.is_set() else max(HURRY, deadline.remaining() * SHARE)
        step = ShrinkingDeadline(share, self._clock)
        stopping = asyncio.ensure_future(_all_stop(children, step))
        hurried = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                names = ", ".join(child.name for child in children)
                logger.warning("a second signal: what has not stopped within %.0f s is cut off (%s)", HURRY, names)
                step.shrink(HURRY, self._clock)
                for child in children:
                    child.hurry()
            self._is_clean &= await stopping
        finally:
            hurried.cancel()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._hear)

    def _hear(self) -> None:
        (self._hurry if self._stopping.is_set() else self._stopping).set()

    def _child(self, name: str, number: int, launch: Callable[[], Launch]) -> Child:
        output = PrefixedOutput(
            name,
            number=number,
            folder=self._data.logs,
            limit=self._local.log_limit,
            plain=self.settings.log.format == "json",
        )
        self._outputs.append(output)
        policy = Policy(
            start_deadline=self._local.start_deadline,
            pause=self._local.restart_pause,
            pause_limit=self._local.restart_pause_limit,
            silence=self._local.silence,
            healthy_after=self._local.healthy_after,
            give_up_after=self._local.give_up_after,
            give_up_within=self._local.give_up_within,
        )
        return Child(name, launch, policy=policy, output=output, changed=self._describe, clock=self._clock)

    def _describe(self) -> None:
        """Write ``run.json``, where other commands find this pipeline."""
        own = os.getpid()
        processes: dict[str, dict[str, Any]] = {"todoke": {"pid": own, "birth": birth(own)}}
        for name, child in self._children.items():
            if child.pid is not None:
                processes[name] = {
                    "kind": self.programs.all()[name].kind,
                    "pid": child.pid,
                    "birth": birth(child.pid),
                    "ready": child.is_ready,
                    "restarts": child.restarts,
                }
        programs = self.programs
        admin = {name: http_url(LOOPBACK, port) for name, port in programs.admin_ports.items()}
        ports = {"http": programs.ports.http, "kafka": programs.ports.kafka, "clickhouse": programs.ports.clickhouse}
        description = {
            "version": VERSION,
            "started_at": rfc3339(self._started),
            "data": str(self._data.path),
            "config": None if self._file is None else str(self._file.absolute()),
            "addresses": {
                "http": programs.http,
                "kafka": self.settings.kafka.bootstrap_servers,
                "clickhouse": programs.clickhouse,
                "admin": admin,
            },
            "ports": {**ports, **programs.admin_ports},
            "pids": {name: entry["pid"] for name, entry in processes.items()},
            "processes": processes,
            "settings": programs.addresses,
        }
        try:
            self._data.describe(description)
        except OSError as error:  # a full disk, say, which is no reason to leave the parts alone
            logger.warning("cannot write run.json, by which other commands find this pipeline: %s", error.strerror)


async def _all_stop(children: Sequence[Child], deadline: Deadline) -> bool:
    """Stop some children at the same time; tell whether all of them stopped by themselves."""
    return all(await asyncio.gather(*(child.stop(deadline) for child in children)))


def _check_addresses(environment: Environment, own: Mapping[str, Any]) -> None:
    """Check that nothing leads the commands beside this pipeline, which read the same settings, to another one.

    Raises:
        ConfigurationError: names the setting.
    """
    named = {dotted(key): value for key, value in values(environment.settings)}
    for key, value in own.items():
        is_given = environment.origin(tuple(key.split("."))) != DEFAULT
        if key.startswith(STORES) and is_given and _as_here(named[key]) != value:
            raise ConfigurationError(
                f"{key} = {named[key]!r} is of another Kafka or ClickHouse, and todoke up runs its own, where it is"
                f" {value!r}: leave it out, or start the roles one by one (docs/run-on-a-cluster.md). The ports of"
                " todoke up are local.kafka_port and local.clickhouse_port"
            )


def _as_here(value: Any) -> Any:
    """Write an address of this machine as todoke up does."""
    return value.replace("localhost", LOOPBACK) if isinstance(value, str) else value


def _check_numbers(settings: Settings) -> None:
    """Check that every process has a shard.

    Raises:
        ConfigurationError: some would have nothing to do.
    """
    shards = settings.topics.shards
    for name, number in (("workers", settings.local.workers), ("sinks", settings.local.sinks)):
        if number > shards:
            raise ConfigurationError(
                f"local.{name} = {number} is more than topics.shards = {shards}: each works on at least one shard"
            )
