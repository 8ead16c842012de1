-- How far the blocks of each log have come. A row of `blocks` may be replaced by an older one where the server's clock was
-- set back; here nothing but the stamps counts, and nothing ever gets less. So a sink can tell tables that were brought
-- back from an older copy: they have come less far than it knows that they had.
create table if not exists reached
(
    shard UInt32,
    epoch String,
    stamp SimpleAggregateFunction(max, Int64)
)
engine = AggregatingMergeTree
order by (shard, epoch)
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1;

create materialized view if not exists reached_by_blocks to reached as
select shard, epoch, stamp from blocks;
