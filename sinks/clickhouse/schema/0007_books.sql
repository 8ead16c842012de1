-- Offsets that a log no longer held when somebody came to read them: of the inbox the worker, of the outbox a sink.
create table if not exists losses
(
    topic LowCardinality(String) default 'inbox',
    shard UInt32,
    first Int64,
    last Int64,
    found_at DateTime64(3, 'UTC')
)
engine = MergeTree
order by (found_at, topic, shard)
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1;

-- The last thing that is written of each block of outbox records: how far this database is, for a sink whose position
-- Kafka no longer knows.
create table if not exists blocks
(
    shard UInt32,
    epoch String,
    first Int64,
    last Int64,
    stamp Int64,
    linked Bool,
    written_at DateTime64(6, 'UTC') default now64(6)
)
engine = ReplacingMergeTree(written_at)
order by shard
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1;
