-- What became of the events of each accepted post. A post may be spread over records and shards: the parts are summed,
-- while every part knows how many events the whole post had.
create table if not exists receipt_parts
(
    receipt String,
    source LowCardinality(String),
    received_at SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    accepted SimpleAggregateFunction(max, UInt64),
    `unique` SimpleAggregateFunction(sum, UInt64),
    duplicate SimpleAggregateFunction(sum, UInt64),
    dead_lettered SimpleAggregateFunction(sum, UInt64)
)
engine = AggregatingMergeTree
order by (receipt, source)
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    min_bytes_for_wide_part = 134217728;

-- Which posts were answered: of each ingest process, all up to a number but for some.
create table if not exists answered_posts
(
    instance String,
    through SimpleAggregateFunction(max, UInt64),
    abandoned SimpleAggregateFunction(groupUniqArrayArray, Array(UInt64))
)
engine = AggregatingMergeTree
order by instance
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1;

-- `status`: `balanced`; `missing` is a loss, `excess` something counted twice; `unanswered` is no loss, since the sender
-- was never told 200 and repeats the post. A receipt is named by 20 digits of its ingest process and 12 that count the
-- posts of that process.
create view if not exists receipts as
with
    reinterpretAsUInt64(reverse(unhex(substring(part.receipt, 21)))) as number,
    part.unique + part.duplicate + part.dead_lettered as found
select
    part.receipt as receipt,
    part.source as source,
    part.received_at::DateTime64(3, 'UTC') as received_at,
    part.accepted::UInt64 as accepted,
    part.unique::UInt64 as `unique`,
    part.duplicate::UInt64 as duplicate,
    part.dead_lettered::UInt64 as dead_lettered,
    number <= process.through and not has(process.abandoned, number) as answered,
    found = part.accepted as balanced,
    multiIf(
        found = part.accepted, 'balanced',
        found > part.accepted, 'excess',
        answered, 'missing',
        'unanswered'
    ) as status
from (select * from receipt_parts final) as part
left join (select * from answered_posts final) as process on substring(part.receipt, 1, 20) = process.instance;
