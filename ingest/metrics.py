"""What ingest counts. Labels are names from the configuration only, never a word that a sender chose."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.contracts import metrics as catalogue
from streams.contracts.metrics import Metric

CHUNK_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


class IngestMetrics:
    """The instruments of one ingest process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._events = _counter(catalogue.INGEST_EVENTS, registry)
        self.posts = _counter(catalogue.INGEST_POSTS, registry)
        self.refusals = _counter(catalogue.INGEST_REFUSALS, registry)
        self._dead_letters = _counter(catalogue.INGEST_DEAD_LETTERS, registry)
        self.body_bytes = _counter(catalogue.INGEST_BYTES, registry)
        self.in_flight_bytes = _gauge(catalogue.INGEST_IN_FLIGHT_BYTES, registry)
        self.journal_bytes = _gauge(catalogue.INGEST_JOURNAL_BYTES, registry)
        self.journal_limit_bytes = _gauge(catalogue.INGEST_JOURNAL_LIMIT_BYTES, registry)
        self.journal_oldest_seconds = _gauge(catalogue.INGEST_JOURNAL_OLDEST_SECONDS, registry)
        self.journal_posts = _gauge(catalogue.INGEST_JOURNAL_POSTS, registry)
        self.kafka_reachable = _gauge(catalogue.INGEST_KAFKA_REACHABLE, registry)
        self._durable_seconds = _histogram(catalogue.INGEST_DURABLE_SECONDS, registry, SECONDS)
        self._chunks = _counter(catalogue.INGEST_CHUNKS, registry)
        self._chunk_events = _histogram(catalogue.INGEST_CHUNK_EVENTS, registry, CHUNK_EVENTS)

    def accepted(self, source: str, events: int, dead_letters: Mapping[str, int], *, seconds: float) -> None:
        """Count a post that has become durable.

        Args:
            source: its source.
            events: how many it held.
            dead_letters: how many of them by reason.
            seconds: that it took from being read.
        """
        self._events.labels(source).inc(events)
        for reason, number in dead_letters.items():
            self._dead_letters.labels(source, reason).inc(number)
        self._durable_seconds.observe(seconds)

    def chunk_stored(self, events: int) -> None:
        """Count a chunk that Kafka acknowledged."""
        self._chunks.labels("stored").inc()
        self._chunk_events.observe(events)

    def chunk_failed(self) -> None:
        """Count a chunk that Kafka refused or that was given up."""
        self._chunks.labels("failed").inc()


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


def _gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    return Gauge(metric.name, metric.help, metric.labels, registry=registry)


def _histogram(metric: Metric, registry: CollectorRegistry, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=buckets)
