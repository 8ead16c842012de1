"""The worker as a role: started, watched, drained and stopped by whoever runs the pipeline."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

from faust.types import TP
from prometheus_client import REGISTRY, CollectorRegistry

from streams.app import ConsumerEndedError, WorkerApp, create_app
from streams.archive import Archive
from streams.contracts.clock import Clock, Deadline, SystemClock
from streams.contracts.errors import ConfigurationError, TodokeError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import Topics
from streams.log import Log
from streams.metrics import WorkerMetrics
from streams.settings import WorkerSettings
from streams.shards import Shards
from streams.surroundings import Surroundings

logger = logging.getLogger(__name__)

LEAVE_SECONDS = 4.0
"""How long Faust may take for each step of leaving the group. A consumer that hangs would take for ever, and it may be
what the worker ends for."""


class WorkerEndedError(TodokeError):
    """Faust ended the worker."""

    retriable = True


class WorkerRole:
    """A worker: inbox in, outbox out. See `streams.contracts.role.Role`."""

    def __init__(
        self,
        *,
        settings: WorkerSettings,
        connection: KafkaConnection,
        topics: Topics,
        archive: Archive | None = None,
        clock: Clock | None = None,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """Make it, idle.

        Args:
            settings: of the worker.
            connection: to Kafka.
            topics: of the pipeline.
            archive: asked when the log of a shard is empty; ``None`` where nothing is known beyond Kafka.
            clock: the wall clock, for what is kept alive once a day.
            registry: of the metrics.
        """
        self._settings = settings
        self._connection = connection
        self._topics = topics
        self._group = settings.group_name(topics.inbox.name)
        self._archive = archive
        self._clock = clock or SystemClock()
        self._metrics = WorkerMetrics(registry)
        self._log = Log(connection)
        self._shards = Shards()
        self._app: WorkerApp | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._exits = contextlib.AsyncExitStack()
        self._failure: Exception | None = None
        self._ended = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, and return once partitions are assigned, if there are enough for all workers. Loading goes on.

        Raises:
            KafkaUnreachableError: no broker answers.
            ConfigurationError: the topics are missing or do not fit each other.
        """
        try:
            await self._log.start()
            self._exits.push_async_callback(self._log.stop)
            await self._start_app(await self._check_topics())
        except BaseException:
            await self._exits.aclose()
            raise

    async def _start_app(self, shards: int) -> None:
        inbox = self._topics.inbox.name
        app = create_app(self._settings, self._connection, inbox, self._shards, failed=self._fail)
        self._app = app
        surroundings = Surroundings(
            connection=self._connection,
            log=self._log,
            topics=self._topics,
            shards=shards,
            settings=self._settings,
            archive=self._archive,
            metrics=self._metrics,
            clock=self._clock,
            version=version("todoke"),
            place=app.place,
            changed=self._shards.changed,
            fail=self._fail,
        )

        async def assigned(_: object, /, *arguments: Any, **__: object) -> None:
            partitions: set[TP] = arguments[0]
            if app.meets_namesake():
                self._fail(self._namesake())
                return
            await self._shards.assign({tp.partition for tp in partitions}, surroundings)

        async def revoked(_: object, /, *__: object, **___: object) -> None:
            await self._shards.suspend()

        app.on_partitions_assigned.connect(assigned)
        app.on_partitions_revoked.connect(revoked)
        self._tasks = [
            asyncio.create_task(self._shards.watch(self._log, inbox), name="worker watch"),
            asyncio.create_task(self._commit(app), name="worker commit"),
            asyncio.create_task(self._notice_crash(app), name="worker crash"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._notice_end)
        await app.start()

    async def wait(self) -> None:
        """Return when the worker has been stopped.

        Raises:
            Exception: what ended it by itself.
        """
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self, deadline: Deadline) -> None:
        """Answer nothing new, have what was answered acknowledged within the deadline, release everything."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(deadline))
        await asyncio.shield(self._stopping)

    async def _stop(self, deadline: Deadline) -> None:
        # 1. What was answered becomes durable; nothing more is answered.
        await self._shards.suspend()
        answered = self._shards.answered()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # 2. Nobody tells Faust any more where to read.
        await self._shards.close()
        # 3. Faust leaves the group.
        if self._app is not None:
            for leave in (partial(self._app.commit_answered, answered), self._app.stop):
                # What Faust raises then is that the loop of its consumer's thread is closed.
                with contextlib.suppress(TimeoutError, ConsumerEndedError, RuntimeError):
                    async with asyncio.timeout(min(LEAVE_SECONDS, deadline.remaining())):
                        await leave()
        await self._exits.aclose()
        self._ended.set()

    async def until_idle(self) -> None:
        """Return when all that stood in the assigned partitions of the inbox is answered, and Kafka has the answers."""
        idle = asyncio.create_task(self._shards.until_idle(self._log, self._topics.inbox.name))
        ended = asyncio.create_task(self.wait())
        try:
            await asyncio.wait({idle, ended}, return_when=asyncio.FIRST_COMPLETED)
            await (idle if idle.done() else ended)
        finally:
            idle.cancel()
            ended.cancel()
            await asyncio.gather(idle, ended, return_exceptions=True)

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether every assigned partition is loaded and worked on, and where each is."""
        ready = self._shards.ready and self._failure is None and not self._ended.is_set()
        state = {"group": self._group, "shards": self._shards.report()}
        return ready, state if self._failure is None else {**state, "failure": str(self._failure)}

    async def _check_topics(self) -> int:
        """Tell how many shards there are."""
        names = (self._topics.inbox.name, self._topics.outbox.name)
        counts = [await self._log.partitions(name) for name in names]
        for name, count in zip(names, counts, strict=True):
            if count == 0:
                raise ConfigurationError(f"Kafka has no topic {name!r}: create the topics first (todoke topics)")
        if counts[0] != counts[1]:
            raise ConfigurationError(
                f"topics {names[0]!r} and {names[1]!r} must have as many partitions as each other, they have "
                f"{counts[0]} and {counts[1]}: add the missing ones"
            )
        return counts[0]

    async def _commit(self, app: WorkerApp) -> None:
        while True:
            await asyncio.sleep(self._settings.commit_interval)
            await app.commit_answered(self._shards.answered())

    async def _notice_crash(self, app: WorkerApp) -> None:
        await app.wait()
        if self._stopping is None:
            self._fail(WorkerEndedError(f"Faust ended the worker: {app.crash_reason!r}"))

    def _notice_end(self, task: asyncio.Task[None]) -> None:
        if self._stopping is not None:
            return
        if task.cancelled() or (error := task.exception()) is None:
            error = RuntimeError(f"the {task.get_name()} ended, which is to go on for as long as the worker")
        self._fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def _namesake(self) -> ConfigurationError:
        return ConfigurationError(
            f"another worker of the group {self._group!r} is called {self._settings.instance!r}, too, and "
            "they take the partitions from each other: give each worker a worker.instance of its own, or none"
        )

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            logger.error("The worker ends: %s", error)
            self._failure = error
        self._ended.set()
