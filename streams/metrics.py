"""The worker's metrics, as the catalogue names them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.contracts import metrics as catalogue
from streams.outcome import Counts

LOAD_BUCKETS = (0.05, 0.2, 1, 5, 20, 60, 300, 1200)


class WorkerMetrics:
    """The instruments of one worker, in a registry of its own choice."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        def counter(metric: catalogue.Metric) -> Counter:
            return Counter(metric.name, metric.help, metric.labels, registry=registry)

        def gauge(metric: catalogue.Metric) -> Gauge:
            return Gauge(metric.name, metric.help, metric.labels, registry=registry)

        self.chunks = counter(catalogue.WORKER_CHUNKS)
        self.dead_letters = counter(catalogue.WORKER_DEAD_LETTERS)
        self.diverted = counter(catalogue.WORKER_DIVERTED)
        self.duplicates = counter(catalogue.WORKER_DUPLICATES)
        self.events = counter(catalogue.WORKER_EVENTS)
        self.foreign = counter(catalogue.WORKER_FOREIGN)
        self.losses = counter(catalogue.WORKER_LOSSES)
        self.reloads = counter(catalogue.WORKER_RELOADS)
        self.seeks = counter(catalogue.WORKER_SEEKS)
        self.unique = counter(catalogue.WORKER_UNIQUE)
        self.lag = gauge(catalogue.WORKER_LAG)
        self.open_lifecycles = gauge(catalogue.WORKER_OPEN_LIFECYCLES)
        self.unreadable = gauge(catalogue.WORKER_UNREADABLE)
        self.load_seconds = Histogram(
            catalogue.WORKER_LOAD_SECONDS.name,
            catalogue.WORKER_LOAD_SECONDS.help,
            catalogue.WORKER_LOAD_SECONDS.labels,
            registry=registry,
            buckets=LOAD_BUCKETS,
        )

    def answered(self, partition: int, counts: Counts) -> None:
        """Count one inbox record's answer."""
        label = str(partition)
        self.chunks.labels(label).inc()
        self.events.labels(label).inc(counts.events)
        self.unique.labels(label).inc(counts.unique)
        self.duplicates.labels(label).inc(counts.duplicates)
        self.dead_letters.labels(label).inc(counts.dead_letters)
        self.diverted.labels(label).inc(counts.diverted)

    def forget(self, partition: int) -> None:
        """Stop telling the state of a partition that another worker has now."""
        for instrument in (self.lag, self.open_lifecycles, self.unreadable):
            instrument.remove_by_labels({"partition": str(partition)})
