"""The sinks as roles: what a process runs."""

import logging
from collections.abc import Mapping
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry

from sinks.breaker import Limits
from sinks.clickhouse.writer import ClickHouseWriter
from sinks.consumer import OutboxConsumer
from sinks.group import OutboxGroup
from sinks.intent import IntentDelivery
from sinks.metrics import Instruments
from sinks.settings import ClickHouseConnection, ClickHouseSinkSettings, TopicsSinkSettings
from sinks.topics import TransactionDelivery
from sinks.writer import BlockWriter
from streams.contracts.clock import Clock, Deadline, SystemClock
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import Topics

logger = logging.getLogger(__name__)


class _SinkRole:
    """What both sinks have in common: a consumer that is run."""

    def __init__(self, consumer: OutboxConsumer, instruments: Instruments) -> None:
        self._consumer = consumer
        self._instruments = instruments

    async def start(self) -> None:
        """Join the group and begin.

        Raises:
            TodokeError: it cannot begin; the message says what to do.
        """
        await self._consumer.start()

    async def wait(self) -> None:
        """Return when the sink has been stopped; raise what ended it otherwise."""
        await self._consumer.wait()

    async def stop(self, deadline: Deadline) -> None:
        """Finish what is being delivered, within the deadline, and leave the group."""
        await self._consumer.stop(deadline)

    async def until_idle(self) -> None:
        """Return as soon as all that was in the outbox when this was called is delivered and committed."""
        await self._consumer.until_idle()

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether the sink reads and its destination takes what it reads."""
        ready = self._consumer.is_reading and not self._instruments.is_failing
        return ready, {
            "sink": self._instruments.sink,
            "failing": self._instruments.is_failing,
            **self._consumer.state(),
        }


class ClickHouseSinkRole(_SinkRole):
    """Fills the ClickHouse tables from the outbox."""

    def __init__(
        self,
        *,
        kafka: KafkaConnection,
        topics: Topics,
        clickhouse: ClickHouseConnection,
        settings: ClickHouseSinkSettings | None = None,
        clock: Clock | None = None,
        registry: CollectorRegistry = REGISTRY,
        writer: BlockWriter | None = None,
    ) -> None:
        """Prepare the sink.

        Args:
            kafka: where the outbox is.
            topics: names of the topics.
            clickhouse: where the tables are.
            settings: see the model; ``None`` takes the defaults.
            clock: the system's unless a test brings its own.
            registry: of the metrics.
            writer: another store than ClickHouse.
        """
        settings = settings or ClickHouseSinkSettings()
        clock = clock or SystemClock()
        instruments = Instruments.of("clickhouse", registry)
        name = settings.group_name(topics.outbox.name, "clickhouse")
        group = OutboxGroup(kafka=kafka, topic=topics.outbox, group=name, settings=settings)
        self._writer = writer or ClickHouseWriter(
            connection=clickhouse,
            compression=settings.compression,
            limits=Limits(run=settings.dead_letter_run, ratio=settings.dead_letter_ratio),
            inbox=topics.inbox.name,
            put_aside=instruments.put_aside,
            clock=clock,
        )
        delivery = IntentDelivery(
            group=group,
            writer=self._writer,
            settings=settings,
            concurrency=settings.concurrency,
            instruments=instruments,
        )
        consumer = OutboxConsumer(
            group=group,
            delivery=delivery,
            settings=settings,
            interval=settings.interval,
            instruments=instruments,
            clock=clock,
        )
        super().__init__(consumer, instruments)

    async def start(self) -> None:
        """Check the schema, join the group and begin."""
        try:
            await self._writer.prepare()
            await super().start()
        except BaseException:
            await self._writer.close()
            raise

    async def stop(self, deadline: Deadline) -> None:
        """Finish what is being written, within the deadline, and disconnect."""
        await super().stop(deadline)
        await self._writer.close()


class TopicsSinkRole(_SinkRole):
    """Writes the public topics from the outbox."""

    def __init__(
        self,
        *,
        kafka: KafkaConnection,
        topics: Topics,
        settings: TopicsSinkSettings | None = None,
        clock: Clock | None = None,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """Prepare the sink.

        Args:
            kafka: where the topics are.
            topics: names of the topics.
            settings: see the model; ``None`` takes the defaults.
            clock: the system's unless a test brings its own.
            registry: of the metrics.
        """
        settings = settings or TopicsSinkSettings()
        clock = clock or SystemClock()
        instruments = Instruments.of("topics", registry)
        name = settings.group_name(topics.outbox.name, "topics")
        group = OutboxGroup(kafka=kafka, topic=topics.outbox, group=name, settings=settings)
        delivery = TransactionDelivery(
            group=group,
            kafka=kafka,
            topics=topics,
            settings=settings,
            put_aside=instruments.put_aside,
            clock=clock,
        )
        consumer = OutboxConsumer(
            group=group,
            delivery=delivery,
            settings=settings,
            interval=settings.interval,
            instruments=instruments,
            clock=clock,
        )
        super().__init__(consumer, instruments)
