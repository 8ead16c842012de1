"""What the sinks count. Each instrument tells the sinks of one process apart by the label ``sink``."""

from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from streams.contracts import metrics as catalogue
from streams.contracts.metrics import Metric

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class SinkMetrics:
    """The instruments of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.blocks = _counter(catalogue.SINK_BLOCKS, registry)
        self.bytes = _counter(catalogue.SINK_BYTES, registry)
        self.dead_letters = _counter(catalogue.SINK_DEAD_LETTERS, registry)
        self.delivery_seconds = Histogram(
            catalogue.SINK_DELIVERY_SECONDS.name,
            catalogue.SINK_DELIVERY_SECONDS.help,
            catalogue.SINK_DELIVERY_SECONDS.labels,
            registry=registry,
            buckets=SECONDS,
        )
        self.events = _counter(catalogue.SINK_EVENTS, registry)
        self.failing = _gauge(catalogue.SINK_FAILING, registry)
        self.failures = _counter(catalogue.SINK_FAILURES, registry)
        self.ignored = _counter(catalogue.SINK_IGNORED_RECORDS, registry)
        self.lag = _gauge(catalogue.SINK_LAG_RECORDS, registry)
        self.lost = _counter(catalogue.SINK_LOST_RECORDS, registry)
        self.partitions = _gauge(catalogue.SINK_PARTITIONS, registry)
        self.stuck = _gauge(catalogue.SINK_STUCK_PARTITIONS, registry)
        self.unreadable = _counter(catalogue.SINK_UNREADABLE_RECORDS, registry)
        self.waiting_bytes = _gauge(catalogue.SINK_WAITING_BYTES, registry)


@dataclass(slots=True)
class Instruments:
    """The instruments of one sink."""

    metrics: SinkMetrics
    sink: str
    is_failing: bool = False
    """Something failed and has not worked since."""

    @classmethod
    def of(cls, sink: str, registry: CollectorRegistry = REGISTRY) -> "Instruments":
        """Make the instruments of a process that runs one sink."""
        return cls(SinkMetrics(registry), sink)

    def delivered(self, *, events: int, size: int) -> None:
        """Count a block that was delivered."""
        self.metrics.blocks.labels(self.sink).inc()
        self.metrics.events.labels(self.sink).inc(events)
        self.metrics.bytes.labels(self.sink).inc(size)

    def put_aside(self) -> None:
        """Count a row that the destination refused; one that is refused again after a crash counts again."""
        self.metrics.dead_letters.labels(self.sink).inc()

    def took(self, seconds: float) -> None:
        """Note how long the blocks of one round took together."""
        self.metrics.delivery_seconds.labels(self.sink).observe(seconds)

    def failed(self) -> None:
        """Count an attempt that failed and is made again."""
        self.metrics.failures.labels(self.sink).inc()
        self.metrics.failing.labels(self.sink).set(1)
        self.is_failing = True

    def recovered(self) -> None:
        """Note that what failed works."""
        self.metrics.failing.labels(self.sink).set(0)
        self.is_failing = False

    def ignored(self, records: int) -> None:
        """Count records that do not belong to the chain."""
        self.metrics.ignored.labels(self.sink).inc(records)

    def unreadable(self, records: int) -> None:
        """Count records that are none of todoke's."""
        self.metrics.unreadable.labels(self.sink).inc(records)

    def lost(self, records: int) -> None:
        """Count records that were gone before they could be read."""
        self.metrics.lost.labels(self.sink).inc(records)

    def lag(self, partition: int, records: int) -> None:
        """Note how many records of a partition are not delivered yet."""
        self.metrics.lag.labels(self.sink, str(partition)).set(records)

    def gone(self, partition: int) -> None:
        """Forget a partition that another sink reads now."""
        self.metrics.lag.labels(self.sink, str(partition)).set(0)

    def partitions(self, number: int) -> None:
        """Note how many partitions this sink reads."""
        self.metrics.partitions.labels(self.sink).set(number)

    def stuck(self, number: int) -> None:
        """Note in how many partitions nothing that comes counts."""
        self.metrics.stuck.labels(self.sink).set(number)

    def waiting(self, size: int) -> None:
        """Note how many bytes are read and not delivered."""
        self.metrics.waiting_bytes.labels(self.sink).set(size)


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


def _gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    return Gauge(metric.name, metric.help, metric.labels, registry=registry)
