"""The Faust application: which topic is read, and by whom; where reading begins is told by the outbox."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.exceptions import ConsumerNotStarted
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.threads import ServiceThread, WorkerThread
from yarl import URL

from streams.agents import create_agent
from streams.contracts.errors import ConfigurationError, TodokeError
from streams.contracts.kafka import KafkaConnection
from streams.settings import WorkerSettings
from streams.shards import Shards

FETCH_BYTES = 4 * 1024 * 1024
"""Bytes of one partition that one fetch may bring: some chunks of the largest size."""


FETCH_WAIT_MS = 200
"""How long the broker holds a fetch that finds nothing. Until it is answered nothing else is fetched from that broker,
so a partition that is read from another place on waits for that long; Faust's own 1.5 s are felt at every start."""


STOP_SECONDS = 2.0
"""How long the consumer's thread has for ending, once it was told to."""


class ConsumerEndedError(TodokeError):
    """Nothing is read from the inbox any more."""

    retriable = True


class _Thread(WorkerThread):
    """A thread that keeps nobody who wants to end: it may be what the worker ends for."""

    def __init__(self, service: ServiceThread, **options: Any) -> None:
        super().__init__(service, **options)
        self.daemon = True

    def stop(self) -> None:
        """Wait until the thread has ended, though not for ever. Faust calls this in the event loop."""
        if self.is_stopped.wait(STOP_SECONDS):
            self.join()


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread for aiokafka's consumer."""

    Worker = _Thread
    logger = logging.getLogger("faust.consumer")  # what these classes log is Faust's, and shall be found there

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - Faust has no setting for it; read at the start
        return consumer


class Consumer(driver.Consumer):
    """Faust's consumer, but what is read next is said by the outbox and not by the group's committed offsets."""

    app: "WorkerApp"
    logger = logging.getLogger("faust.consumer")  # as above

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Go to where each partition is to be read; one that is not loaded yet waits, and its shard starts it then.

        Faust calls this after each rebalance, and whenever it has fetched something that it was not to fetch.
        """
        for tp in self.assignment():
            position = self.app.shards.position(tp.partition)
            if position is None:
                self.pause_partitions({tp})
            else:
                await self.seek(tp, position)

    async def _seek(self, partition: TP, offset: int) -> None:
        # aiokafka's consumer lives in a thread of its own; Faust would reach over into it.
        async def seek() -> None:
            self._thread.seek(partition, offset)

        await self._call(seek)

    async def _call(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        if self._thread.thread_loop.is_closed():
            raise ConsumerEndedError("the thread of Faust's consumer has ended: this worker ends, to be started afresh")
        await self._thread.call_thread(function, *arguments)

    @property
    def membership(self) -> tuple[int, str]:
        """The group's generation, and what the group calls this member in it."""
        coordinator = self._thread._ensure_consumer()._coordinator  # noqa: SLF001 - nothing public tells
        return (-1, "") if coordinator is None else (coordinator.generation, coordinator.member_id)

    def close(self) -> None:
        """Leave closing to the consumer's own thread, which does it in order.

        Faust calls this if a rebalance comes while the application stops, and would close the connections from the
        wrong thread.
        """

    async def commit_answered(self, offsets: Mapping[TP, int]) -> None:
        """Tell the group what was answered. Only monitoring reads it, so a failure is no concern."""
        consumer = self._thread._ensure_consumer()  # noqa: SLF001 - Faust commits what it counted, which is another thing
        assigned = self.assignment()
        committed = {
            TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in assigned
        }
        if committed:
            await self._call(consumer.commit, committed)


class Transport(driver.Transport):
    """Faust's transport with our consumer."""

    Consumer = Consumer


class NoTables(TableManager):
    """Faust's table manager, which has nothing to manage: it does not wait a second for tables to come."""

    logger = logging.getLogger("faust.tables")  # as above

    async def on_start(self) -> None:
        """Tell those who wait for the tables that there are none."""
        await self._update_channels()
        await self.recovery.start()


class WorkerApp(faust.App):
    """Faust's application, without what it would do for tables, replies and a web page, which are not used."""

    shards: Shards
    inbox: str
    logger = logging.getLogger("faust.app")  # as above
    _membership = (-1, "")

    def meets_namesake(self) -> bool:
        """Tell, after partitions were assigned, whether another process has this member's name within the group.

        Kafka gives the place of a named member to whoever comes last under its name, in the same generation and without
        asking the others. Who had to join again without a new generation, and under another id, was displaced so; a
        member that was away for too long finds a new generation.
        """
        before, self._membership = self._membership, cast("Consumer", self.consumer).membership
        (generation, member), (last_generation, last_member) = self._membership, before
        named = self.conf.consumer_group_instance_id is not None
        return named and generation == last_generation >= 0 and member != last_member

    def _create_directories(self) -> None:
        """Make no folders: there are no tables to keep in them."""

    def on_rebalance_return(self) -> None:
        """Do nothing: this is for Faust's sensors, which would warn at each rebalance that they hear of it late."""

    async def place(self, partition: int, offset: int) -> None:
        """Read a partition from an offset on, if it is assigned at all."""
        tp = TP(self.inbox, partition)
        try:
            await self.consumer.seek(tp, offset)
        except (IllegalStateError, ConsumerNotStarted):
            return  # a rebalance is on: when it is over, perform_seek is called
        self.consumer.resume_partitions({tp})

    async def commit_answered(self, answered: Mapping[int, int]) -> None:
        """Tell the group up to where partitions are answered, if it wants to hear."""
        try:
            await cast("Consumer", self.consumer).commit_answered(
                {TP(self.inbox, number): offset for number, offset in answered.items()}
            )
        except (KafkaError, ConsumerNotStarted):
            self.log.debug("The group's offsets are not committed now")


def create_app(
    settings: WorkerSettings,
    connection: KafkaConnection,
    inbox: str,
    shards: Shards,
    *,
    failed: Callable[[Exception], None],
) -> WorkerApp:
    """Make the application. It is to be started and stopped in a running event loop, like any of Faust's services.

    Args:
        settings: of the worker.
        connection: to Kafka.
        inbox: the topic.
        shards: take what is read, and know where to read.
        failed: called with an error of the shards, which is to end the worker.

    Raises:
        ConfigurationError: the connection asks for what Faust cannot do.
    """
    app = WorkerApp(
        settings.group_name(inbox),
        broker=[URL(f"kafka://{server}") for server in connection.bootstrap_servers.split(",")],
        broker_credentials=_credentials(connection),
        consumer_group_instance_id=settings.instance,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        consumer_metadata_max_age_ms=int(settings.metadata_interval * 1000),
        broker_session_timeout=settings.session_timeout,
        broker_heartbeat_interval=settings.session_timeout / 5,
        broker_request_timeout=max(90.0, settings.session_timeout),
        stream_buffer_maxsize=settings.buffer,
        stream_wait_empty=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        reply_create_topic=False,
        store="memory://",
        TableManager=NoTables,
        table_standby_replicas=0,
        web_enabled=False,
        autodiscover=False,
    )
    app.finalize()
    app.inbox, app.shards = inbox, shards
    app.transport = Transport(app.conf.broker_consumer, app)
    create_agent(app, inbox, shards, failed)
    return app


def _credentials(connection: KafkaConnection) -> Any:
    options = connection.client_options()
    context = options.get("ssl_context")
    if connection.security_protocol.startswith("SASL"):
        if connection.sasl_mechanism not in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}:
            raise ConfigurationError(
                f"sasl_mechanism is {connection.sasl_mechanism!r}; allowed: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"
            )
        return faust.SASLCredentials(
            mechanism=connection.sasl_mechanism,
            username=connection.sasl_username,
            password=connection.sasl_password,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)
