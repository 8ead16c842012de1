-- How often the tables were made anew from the outbox. While the latest generation is not `ready`, they are being emptied
-- and nobody writes. Tokens and positions of one generation mean nothing in another.
create table if not exists generations
(
    generation UInt32,
    ready Bool,
    at DateTime64(3, 'UTC') default now64(3)
)
engine = MergeTree
order by (generation, ready)
settings
    non_replicated_deduplication_window = 1000,
    fsync_after_insert = 1;
