-- Which dead letters were put through the pipeline again, and under which receipt their events were counted. The letter
-- stays where it is, and is counted where it was. `receipt` to `offset` name the letter as in `dead_letters`.
create table if not exists replays
(
    receipt String,
    number UInt32,
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    replay String,
    events UInt32,
    version LowCardinality(String),
    replayed_at DateTime64(3, 'UTC')
)
engine = MergeTree
order by (receipt, number, topic, partition, offset)
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1;
