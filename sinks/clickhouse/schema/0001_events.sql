-- One row per unique event. Sorted by time, since most questions are about a span of it; the filters serve those about
-- one message or one address. Small parts are kept in one file per part: an insert writes one file instead of forty.
create table if not exists events
(
    id String,
    source LowCardinality(String),
    provider LowCardinality(String),
    composition LowCardinality(String),
    type LowCardinality(String),
    provider_status LowCardinality(String),
    message_id String,
    recipient String,
    sender String,
    return_path String,
    subject String,
    reason String,
    api_data String,
    source_ip String,
    sender_ip String,
    bounce_code LowCardinality(String),
    bounce_class LowCardinality(String),
    bounce_reason LowCardinality(String),
    occurred_at DateTime64(3, 'UTC'),
    occurred_raw String,
    received_at DateTime64(3, 'UTC'),
    receipt String,
    index by_message_id message_id type bloom_filter(0.01) granularity 1,
    index by_recipient recipient type bloom_filter(0.01) granularity 1
)
engine = MergeTree
partition by toYYYYMM(received_at)
order by (occurred_at, id)
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    min_bytes_for_wide_part = 134217728;
