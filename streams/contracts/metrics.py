"""The catalogue of metrics: every name once, so that dashboards and alerts can rely on it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One time series family, named as Prometheus advises: unit last, counters without ``_total`` here."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


# ingest

INGEST_BYTES = Metric("todoke_ingest_body_bytes", "Bytes of bodies that were taken, decompressed.", ("source",))
INGEST_CHUNK_EVENTS = Metric("todoke_ingest_chunk_events", "Events in a chunk that was stored.")
INGEST_CHUNKS = Metric("todoke_ingest_chunks", "Chunks, by what became of them: stored, failed.", ("result",))
INGEST_DEAD_LETTERS = Metric("todoke_ingest_dead_letters", "What was put aside unread.", ("source", "reason"))
INGEST_DURABLE_SECONDS = Metric(
    "todoke_ingest_durable_seconds", "From a body's last byte until its events were durable."
)
INGEST_EVENTS = Metric("todoke_ingest_events", "Events of posts that were answered 200, resends included.", ("source",))
INGEST_IN_FLIGHT_BYTES = Metric(
    "todoke_ingest_in_flight_bytes", "Bytes of bodies that were taken and are not durable yet."
)
INGEST_KAFKA_REACHABLE = Metric("todoke_ingest_kafka_reachable", "1 while Kafka answers.")
INGEST_POSTS = Metric("todoke_ingest_posts", "Posts by the status they were answered with.", ("source", "status"))
INGEST_REFUSALS = Metric(
    "todoke_ingest_refusals",
    "Posts that were answered with a problem, by its kind, e.g. wrong-secret.",
    ("source", "problem"),
)
