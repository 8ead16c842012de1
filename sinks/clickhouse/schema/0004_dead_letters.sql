-- What could not be read, byte for byte. Raw bytes longer than a part are `parts` rows of one `receipt` and `number`.
create table if not exists dead_letters
(
    receipt String,
    number UInt32,
    part UInt32,
    parts UInt32,
    source LowCardinality(String),
    reason LowCardinality(String),
    detail String,
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    version LowCardinality(String),
    received_at DateTime64(3, 'UTC'),
    raw_base64 String ephemeral,
    raw String default base64Decode(raw_base64) codec(ZSTD(1))
)
engine = MergeTree
partition by toYYYYMM(received_at)
order by (received_at, receipt, number, part)
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1;
