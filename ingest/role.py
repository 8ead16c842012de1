"""Ingest as a role: the HTTP server with everything behind it, started and stopped as one."""

import logging
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from ingest.app import create_app
from ingest.handlers import INTAKE
from ingest.intake import Intake
from ingest.listener import Listener, http_logger
from ingest.publisher import KafkaPublisher, Publisher
from ingest.settings import IngestSettings, SourceSettings
from streams.contracts.clock import Clock, Deadline, SystemClock
from streams.contracts.errors import ConfigurationError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import Topics

logger = logging.getLogger(__name__)

LINGER = 1.0
"""Seconds that connections have for taking their last answers, once everything is decided."""


class IngestRole:
    """Takes posts on HTTP and makes them durable in Kafka; implements `streams.contracts.role.Role`."""

    def __init__(
        self,
        *,
        settings: IngestSettings,
        sources: Mapping[str, SourceSettings],
        kafka: KafkaConnection,
        topics: Topics,
        clock: Clock | None = None,
        registry: CollectorRegistry | None = None,
        publisher: Publisher | None = None,
    ) -> None:
        """Describe the role; nothing happens before `start`.

        Args:
            settings: of the server.
            sources: who may post, by name; see `ingest.settings.default_sources`.
            kafka: where Kafka is.
            topics: of which the inbox is written.
            clock: the system's unless told otherwise.
            registry: where metrics are kept, served at ``/metrics``; one of its own unless told otherwise.
            publisher: instead of one that writes to Kafka.

        Raises:
            ConfigurationError: the settings do not fit together.
        """
        self._settings = settings
        self._app = create_app(
            settings=settings,
            sources=sources,
            publisher=publisher
            or KafkaPublisher(
                kafka=kafka,
                topic=topics.inbox,
                request_timeout=settings.kafka_timeout,
                compression=settings.compression,
            ),
            clock=clock or SystemClock(),
            registry=registry or CollectorRegistry(),
        )
        self._listener = Listener(
            host=settings.host,
            port=settings.port,
            waiting=settings.max_connections_waiting,
            limit=settings.max_connections,
            retry_after=settings.retry_after,
            clock=clock or SystemClock(),
        )
        self._runner: web.AppRunner | None = None
        self._port = settings.port

    @property
    def _intake(self) -> Intake:
        return self._app[INTAKE]

    @property
    def port(self) -> int:
        """Where the server listens; known once started, also where the settings say 0."""
        return self._port

    @property
    def url(self) -> str:
        """The server's address without a path."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Connect to Kafka, then listen.

        Raises:
            ConfigurationError: the address cannot be listened on, or Kafka has no inbox.
            PublishError: Kafka cannot be reached.
        """
        settings = self._settings
        self._runner = web.AppRunner(
            self._app,
            auto_decompress=False,
            keepalive_timeout=settings.keep_alive,
            access_log=logging.getLogger("ingest.access") if settings.access_log else None,
            shutdown_timeout=LINGER,
            logger=http_logger,
        )
        await self._runner.setup()
        if self._runner.server is None:
            raise RuntimeError("a runner that was set up has a server")
        try:
            self._port = await self._listener.start(self._runner.server)
        except ConfigurationError:
            await self._runner.cleanup()
            raise
        logger.info("posts are taken at %s", self.url)

    async def wait(self) -> None:
        """Return when stopped; raise what ended the role by itself."""
        await self._intake.wait()

    async def stop(self, deadline: Deadline) -> None:
        """Stop listening, finish the posts that are under way, tell that they were answered, let go of Kafka.

        1. Nothing new: no connections are accepted, readiness is false, posts on open connections are answered 503.
        2. What is under way becomes durable and is answered, or fails at the deadline and is answered 503.
        3. Connections are closed.
        """
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        # 1.
        self._listener.stop()
        # 2.
        await self._intake.stop(deadline)
        # 3.
        await runner.cleanup()
        logger.info("posts are no longer taken")

    async def until_idle(self) -> None:
        """Return as soon as all posts are decided and that is told."""
        await self._intake.until_idle()

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether a post would be taken now."""
        return self._intake.readiness()
