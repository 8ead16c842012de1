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

# worker

WORKER_CHUNKS = Metric("todoke_worker_chunks", "Inbox records that were answered.", ("partition",))
WORKER_DEAD_LETTERS = Metric(
    "todoke_worker_dead_letters", "What went to the dead letters, ingest's included.", ("partition",)
)
WORKER_DUPLICATES = Metric("todoke_worker_duplicates", "Events that were known already.", ("partition",))
WORKER_EVENTS = Metric("todoke_worker_events", "Events that were read, duplicates included.", ("partition",))
WORKER_FOREIGN = Metric(
    "todoke_worker_foreign_records",
    "Outbox records that another worker wrote meanwhile, or a send left behind.",
    ("partition",),
)
WORKER_LAG = Metric("todoke_worker_lag_records", "Inbox records that are not answered yet.", ("partition",))
WORKER_LOAD_SECONDS = Metric(
    "todoke_worker_load_seconds", "How long loading the state of a partition took.", ("partition",)
)
WORKER_LOSSES = Metric(
    "todoke_worker_lost_records", "Inbox records that were gone from the log before they could be read.", ("partition",)
)
WORKER_OPEN_LIFECYCLES = Metric("todoke_worker_open_lifecycles", "Lifecycles that are held in memory.", ("partition",))
WORKER_RELOADS = Metric(
    "todoke_worker_reloads", "States that were dropped and loaded again, by cause.", ("partition", "cause")
)
WORKER_SEEKS = Metric("todoke_worker_seeks", "Corrections of the place that is read from.", ("partition",))
WORKER_UNIQUE = Metric("todoke_worker_unique", "Events that were new.", ("partition",))
