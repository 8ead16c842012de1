"""What all shards of a worker share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from streams.archive import Archive
from streams.contracts.clock import Clock
from streams.contracts.errors import PublishError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import Topics
from streams.log import Log
from streams.metrics import WorkerMetrics
from streams.outbox import OutboxEnd
from streams.settings import WorkerSettings

HOURS_PER_DAY = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a shard works with, and whom it tells what."""

    connection: KafkaConnection
    log: Log
    topics: Topics
    shards: int
    """Partitions of inbox and outbox."""
    settings: WorkerSettings
    metrics: WorkerMetrics
    clock: Clock
    version: str
    archive: Archive | None
    """Asked when the outbox of a shard is empty; ``None`` where there is no history beyond Kafka."""

    place: Callable[[int, int], Awaitable[None]]
    """Has the consumer read a partition from an offset on. Does nothing while the partition is not assigned."""

    changed: Callable[[], None]
    """Called when a shard has come further."""

    fail: Callable[[Exception], None]
    """Called with what ends the worker."""

    @property
    def horizon_hours(self) -> int:
        """For how long something is remembered."""
        return self.settings.horizon_days * HOURS_PER_DAY

    def outbox_end(self, partition: int, end: int, failed: Callable[[PublishError], None]) -> OutboxEnd:
        """Make the writer of a partition of the outbox, not connected yet; its arguments are `OutboxEnd`'s."""
        return OutboxEnd(
            self.connection,
            self.settings,
            topic=self.topics.outbox.name,
            partition=partition,
            end=end,
            acknowledged=self.changed,
            failed=failed,
        )
