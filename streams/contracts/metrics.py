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
    "todoke_ingest_durable_seconds", "From a body that was read until its events were durable."
)
INGEST_EVENTS = Metric("todoke_ingest_events", "Events of posts that were answered 200, resends included.", ("source",))
INGEST_IN_FLIGHT_BYTES = Metric(
    "todoke_ingest_in_flight_bytes", "Bytes of bodies that were taken and are not durable yet."
)
INGEST_JOURNAL_BYTES = Metric(
    "todoke_ingest_journal_bytes", "Bytes of posts in the journal, which are not known to be in Kafka."
)
INGEST_JOURNAL_LIMIT_BYTES = Metric(
    "todoke_ingest_journal_limit_bytes", "Bytes of posts that the journal may hold; 0 if there is none."
)
INGEST_JOURNAL_OLDEST_SECONDS = Metric(
    "todoke_ingest_journal_oldest_seconds", "How long the oldest post in the journal has waited."
)
INGEST_JOURNAL_POSTS = Metric("todoke_ingest_journal_posts", "Posts in the journal.")
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
WORKER_DIVERTED = Metric(
    "todoke_worker_diverted_events", "Events that the worker itself sent to the dead letters.", ("partition",)
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
WORKER_UNREADABLE = Metric(
    "todoke_worker_unreadable_records",
    "Records in the outbox, as it was loaded, that are none of todoke's.",
    ("partition",),
)

# sinks

SINK_BLOCKS = Metric("todoke_sink_blocks", "Blocks that were delivered.", ("sink",))
SINK_BYTES = Metric("todoke_sink_bytes", "Bytes of outbox records that were delivered.", ("sink",))
SINK_DEAD_LETTERS = Metric(
    "todoke_sink_dead_letters", "Rows that the destination refused and that went to the dead letters.", ("sink",)
)
SINK_DELIVERY_SECONDS = Metric(
    "todoke_sink_delivery_seconds", "How long a round of blocks took, one block per partition.", ("sink",)
)
SINK_EVENTS = Metric("todoke_sink_events", "Events that were delivered.", ("sink",))
SINK_FAILING = Metric("todoke_sink_failing", "1 while the destination does not take what it is given.", ("sink",))
SINK_FAILURES = Metric("todoke_sink_failures", "Attempts that failed and are made again.", ("sink",))
SINK_IGNORED_RECORDS = Metric(
    "todoke_sink_ignored_records", "Outbox records that do not continue the chain and were passed over.", ("sink",)
)
SINK_LAG_RECORDS = Metric(
    "todoke_sink_lag_records", "Outbox records that are not delivered yet.", ("sink", "partition")
)
SINK_LOST_RECORDS = Metric(
    "todoke_sink_lost_records", "Outbox records that were gone from the log before they could be read.", ("sink",)
)
SINK_PARTITIONS = Metric("todoke_sink_partitions", "Partitions that this sink reads.", ("sink",))
SINK_STUCK_PARTITIONS = Metric(
    "todoke_sink_stuck_partitions",
    "Partitions of which nothing is delivered, since an answer in the outbox is damaged: /readyz tells which.",
    ("sink",),
)
SINK_UNREADABLE_RECORDS = Metric(
    "todoke_sink_unreadable_records", "Records in the outbox that are none of todoke's and were passed over.", ("sink",)
)
SINK_WAITING_BYTES = Metric("todoke_sink_waiting_bytes", "Bytes that are read and not delivered yet.", ("sink",))

# books

BOOKS_AUDIT_SECONDS = Metric("todoke_books_audit_seconds", "How long the last audit took.")
BOOKS_AUDITED_AT = Metric("todoke_books_audited_timestamp_seconds", "When the last audit began, in seconds since 1970.")
BOOKS_BALANCED = Metric(
    "todoke_books_balanced", "1 while the books balance, or lack only what a stage has not worked off yet."
)
BOOKS_BEHIND = Metric("todoke_books_stage_behind_records", "Records that a stage has not worked off.", ("stage",))
BOOKS_MISSING_EVENTS = Metric("todoke_books_missing_events", "Events that answered posts lack in ClickHouse.")
BOOKS_RECEIPTS = Metric("todoke_books_receipts", "Posts by status: balanced, missing, excess, unanswered.", ("status",))
