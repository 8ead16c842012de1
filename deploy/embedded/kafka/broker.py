"""Apache Kafka itself as a child process: one node, one data folder, nothing installed but Python."""

import asyncio
import contextlib
import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from deploy.embedded.child import start_child
from deploy.embedded.errors import EmbeddedServerError, PortInUseError, ServerFailedError
from deploy.embedded.folder_lock import FolderLock
from deploy.embedded.kafka import jvm
from deploy.embedded.kafka.archive import archive_path, drop_if_refused, note_use
from deploy.embedded.kafka.errors import JarsUnavailableError
from deploy.embedded.kafka.fencing import takes_none_for_alive
from deploy.embedded.kafka.folder import DataFolder, Marker
from deploy.embedded.kafka.jars import BROKER_LOCK, Progress, class_path, default_cache, log_progress
from deploy.embedded.kafka.properties import LOOPBACK, controller_properties, render, server_properties
from deploy.embedded.kafka.room import NEEDED, require_room
from deploy.embedded.server_folder import write_through
from deploy.embedded.server_process import ServerProcess, last_lines, size_of
from deploy.ports import free_port, is_free
from streams.contracts.errors import ConfigurationError

logger = logging.getLogger(__name__)

_POLL = 0.05  # seconds between two looks whether it answers
_ENDED_IN_ORDER = 128 + SIGTERM
"""Java's exit code after it was asked to end."""
_WRITTEN_WITHIN = 0.2
"""Seconds that the controller has for writing what it has logged already, which it does at once."""


class EmbeddedKafka(ServerProcess):
    """One broker. Its folder remembers its port for the next object that asks for none."""

    name = "Kafka"

    def __init__(
        self,
        *,
        data: Path,
        port: int = 0,
        heap: str = "256m",
        cache: Path | None = None,
        log: Path | None = None,
        start_within: float = 60.0,
        progress: Callable[[Progress], None] | None = None,
        archive_to: Path | None = None,
        room: int = NEEDED,
        controller_port: int = 0,
    ) -> None:
        """Describe the broker; nothing happens before ``start``.

        Args:
            data: folder that is the broker's alone; made where it is missing.
            port: where clients connect; 0 takes the folder's last one, or one that is free.
            heap: the Java heap's limit, like ``256m`` or ``1g``.
            cache: folder of the jars; None is the user's cache folder.
            log: file that the broker logs to, rotated at 8 MB; None is ``broker.log`` in the data folder.
            start_within: seconds from the broker's start until it must answer. After a kill it first reads the last
                segment of each partition.
            progress: called in another thread while jars are fetched; None logs it.
            archive_to: file that Java writes the classes to when the broker ends; None takes them from the archive of
                the cache folder, if there is one.
            room: bytes that must be free on the folder's disk at the start.
            controller_port: where its own controller listens; 0 picks one that is free, at each start.

        Raises:
            ConfigurationError: the heap cannot be worked with, or one port is named twice.
        """
        if port and port == controller_port:
            raise ConfigurationError(f"port {port} is named for Kafka's clients and for its controller: choose another")
        self._folder = DataFolder(data)
        self._port = port
        self._heap = jvm.checked_heap(heap)
        self._cache = cache or default_cache()
        self._log = (log or self._folder.log).absolute()
        self._start_within = start_within
        self._progress = progress
        self._archive_to = archive_to
        self._room = room
        self._controller_port = controller_port
        self._log_began_at = 0

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect, ``host:port``; known once it was started."""
        return f"{LOOPBACK}:{self._port}"

    async def start(self) -> None:
        """Fetch the jars if need be, start the broker, and return once it answers a request of Kafka's protocol.

        Raises:
            EmbeddedServerError: one of its kinds, each with what to do.
        """
        if self.pid is not None:
            raise RuntimeError("this broker is running")
        jars = await self._jars()
        lock = self._folder.lock()
        try:
            require_room(self._folder.path, self._folder.topics, self._room)
            marker = self._folder.read()
            self._configure(marker)
            self._prepare()
            if not marker.formatted:
                await self._format(jars, marker, lock)
                write_through(self._folder.topics)  # which Kafka leaves to the kernel, and cannot start without
                marker = self._folder.note(marker, formatted=True)
            elif not self._folder.ended_in_order:
                await self._fence(jars, lock)
            command = jvm.broker_command(
                jars, heap=self._heap, log=self._log, temporary=self._folder.temporary, archive=self._archive(jars)
            )
            self._process = await self._spawn(command, lock)
        finally:
            lock.release()  # the broker has its own share
        try:
            await self._until_answering()
        finally:
            self._drop_refused_archive(jars)
        self._folder.note(marker, port=self._port)
        logger.info("Kafka answers on %s, process %d", self.bootstrap_servers, self._process.pid)

    async def _jars(self) -> tuple[Path, ...]:
        given_up = threading.Event()

        def report(progress: Progress) -> None:
            if given_up.is_set():  # the thread that fetches cannot be cancelled from outside
                raise JarsUnavailableError("Fetching the jars was broken off; the next start goes on with it.")
            (self._progress or log_progress)(progress)

        try:
            return await asyncio.to_thread(class_path, BROKER_LOCK, cache=self._cache, progress=report)
        finally:
            given_up.set()

    def _archive(self, jars: tuple[Path, ...]) -> list[str]:
        if self._archive_to is not None:
            return jvm.write_archive(self._archive_to)
        archive = archive_path(jars, cache=self._cache)
        if archive.exists():
            note_use(archive)
        return jvm.read_archive(archive)

    def _configure(self, marker: Marker) -> None:
        controller_port = self._controller_port
        if controller_port and not is_free(LOOPBACK, controller_port):
            raise PortInUseError("Kafka's controller", LOOPBACK, controller_port)
        wanted = self._port or marker.port
        if wanted and (wanted == controller_port or not is_free(LOOPBACK, wanted)):
            if self._port:
                raise PortInUseError(self.name, LOOPBACK, wanted)
            logger.warning("Port %d, where Kafka was last, is in use; it takes another", wanted)
            wanted = 0
        self._port = wanted or free_port(LOOPBACK, besides={controller_port})
        controller_port = controller_port or free_port(LOOPBACK, besides={self._port})
        properties = server_properties(port=self._port, controller_port=controller_port)
        self._folder.properties.write_text(render(properties), encoding="ascii")
        self._folder.controller_properties.write_text(render(controller_properties(properties)), encoding="ascii")

    def _prepare(self) -> None:
        shutil.rmtree(self._folder.temporary, ignore_errors=True)
        self._folder.temporary.mkdir()
        self._folder.output.write_bytes(b"")
        self._log_began_at = size_of(self._log)

    async def _spawn(self, command: list[str], lock: FolderLock) -> asyncio.subprocess.Process:
        process = await start_child(
            command,
            env=jvm.ENVIRONMENT,
            cwd=self._folder.path,
            log_path=self._folder.output,
            pass_fds=(lock.descriptor,),
        )
        lock.show(process.pid)
        return process

    async def _format(self, jars: tuple[Path, ...], marker: Marker, lock: FolderLock) -> None:
        command = jvm.format_command(jars, cluster_id=marker.cluster_id, temporary=self._folder.temporary)
        process = await self._spawn(command, lock)
        try:
            code = await process.wait()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if code != 0:
            raise ServerFailedError(f"Formatting Kafka's storage failed with exit code {code}.\n{self._last_lines()}")

    async def _fence(self, jars: tuple[Path, ...], lock: FolderLock) -> None:
        """Have the controller, alone, take the broker for gone that was killed, before a new one begins.

        A broker that begins with all partitions led by its former self loses them soon after, for a moment; then the
        coordinator of transactions in Kafka 4.3 takes them for deleted, and skips them where it was about to write that
        a transaction has ended (KAFKA-20734). Besides, the new one does not have to wait for its former session.

        Raises:
            ServerFailedError: it did not, so that no broker may begin.
        """
        log = self._folder.controller_log.absolute()  # of its own: the broker's is put aside when it is full
        log.unlink(missing_ok=True)
        command = jvm.broker_command(
            jars,
            heap=self._heap,
            log=log,
            temporary=self._folder.temporary,
            archive=jvm.read_archive(archive_path(jars, cache=self._cache)),
            properties=self._folder.controller_properties.name,
        )
        self._process = process = await self._spawn(command, lock)
        try:
            async with asyncio.timeout(self._start_within):
                while not takes_none_for_alive(log):
                    if self.pid is None:
                        raise self._not_fenced(log, f"ended with exit code {process.returncode}")
                    await asyncio.sleep(_POLL)
            await asyncio.sleep(_WRITTEN_WITHIN)
            await self.stop()
        except TimeoutError:
            raise self._not_fenced(log, f"did not within {self._start_within:.0f} s") from None
        finally:
            await self._end()
            self._drop_refused_archive(jars)
        if process.returncode != _ENDED_IN_ORDER:  # it may have logged what it has not written
            raise self._not_fenced(log, f"ended with exit code {process.returncode}")

    def _not_fenced(self, log: Path, what: str) -> ServerFailedError:
        return ServerFailedError(
            f"Kafka was killed, and its controller, which has to end the session of that broker first, {what}."
            f" Start again.\n{last_lines((log, 0), (self._folder.output, 0))}"
        )

    def _drop_refused_archive(self, jars: tuple[Path, ...]) -> None:
        """Delete the archive of Java's classes where Java has said that it cannot be used, or crashed over it."""
        if self._archive_to is None:
            said = self._folder.output.read_text("utf-8", "replace")
            drop_if_refused(archive_path(jars, cache=self._cache), said)

    async def _until_answering(self) -> None:
        assert self._process is not None  # noqa: S101 - start sets it
        answering = asyncio.create_task(self._answers())
        ended = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait({answering, ended}, timeout=self._start_within, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise self._failure(ended.result() if ended.done() else None)  # noqa: TRY301 - ends the broker as well
            answering.result()
        except BaseException:
            await self._end()
            raise
        finally:
            answering.cancel()
            ended.cancel()
            await asyncio.gather(answering, ended, return_exceptions=True)

    def _failure(self, code: int | None) -> EmbeddedServerError:
        lines = self._last_lines()
        if code is None:
            return ServerFailedError(
                f"Kafka did not answer within {self._start_within:.0f} s; it is ended. "
                f"If it was busy reading its logs, start again with more time: local.start_deadline.\n{lines}"
            )
        if "Address already in use" in lines and not is_free(LOOPBACK, self._port):
            return PortInUseError(self.name, LOOPBACK, self._port)
        return ServerFailedError(f"Kafka ended at its start with exit code {code}.\n{lines}")

    async def _answers(self) -> None:
        """Return once the broker serves every partition that there is."""
        while True:
            # A closed port is the usual case here, and cheaper to find out than with a client of Kafka, who logs it.
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(LOOPBACK, self._port)
                writer.close()
                with contextlib.suppress(KafkaError):
                    if await self._serves():
                        return
            await asyncio.sleep(_POLL)

    async def _serves(self) -> bool:
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap_servers, request_timeout_ms=5_000)
        try:
            await client.bootstrap()
            metadata = await client.fetch_all_metadata()
            every, led = (
                {(topic, partition) for topic in metadata.topics() for partition in partitions(topic) or ()}
                for partitions in (metadata.partitions_for_topic, metadata.available_partitions_for_topic)
            )
            return bool(metadata.brokers()) and every == led
        finally:
            await client.close()

    def _last_lines(self) -> str:
        return last_lines((self._log, self._log_began_at), (self._folder.output, 0))
