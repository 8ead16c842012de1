-- What ClickHouse did not take of a block as it was: where its rows were cut in two, and which single rows were put aside.
-- Each decision stands here before anything is done by it, so that whoever repeats the block does the same.
create table if not exists refusals
(
    shard UInt32,
    epoch String,
    first Int64,
    last Int64,
    target LowCardinality(String),
    begin_row UInt32,
    end_row UInt32,
    refused Bool,
    receipt String,
    detail String,
    found_at DateTime64(3, 'UTC')
)
engine = MergeTree
order by (shard, epoch, last, target, begin_row)
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1;

-- How much was refused of late, as of each shard's last block: the sink's breaker goes on from there.
alter table blocks
    add column if not exists refused_run UInt32,
    add column if not exists latest_rows UInt32,
    add column if not exists latest_refused UInt32;

-- An event that ClickHouse refused is no row of `events`, but a dead letter: so the books count it.
create or replace view receipts as
with
    reinterpretAsUInt64(reverse(unhex(substring(post.receipt, 21)))) as number,
    arrayFilter((place, time) -> time > 1, post.places, arrayEnumerateUniq(post.places.part)) as copies,
    bitCount(post.numbers) = post.arrivals as is_plain,
    if(is_plain, 0, arraySum(copies.events)) as copied,
    if(is_plain, 0, arraySum(copies.dead_letters)) as copied_letters,
    post.unique + post.duplicate + post.dead_lettered - copied as found
select
    post.receipt as receipt,
    post.source as source,
    post.received_at::DateTime64(3, 'UTC') as received_at,
    post.accepted::UInt64 as accepted,
    (post.unique - aside.rows)::UInt64 as `unique`,
    (post.duplicate + copied_letters - copied)::UInt64 as duplicate,
    (post.dead_lettered - copied_letters + aside.rows)::UInt64 as dead_lettered,
    aside.rows::UInt64 as refused,
    post.places::Array(Tuple(part UInt32, shard UInt32, `offset` Int64, events UInt64, dead_letters UInt64)) as places,
    number <= process.through and not has(process.abandoned, number) as answered,
    found = post.accepted as balanced,
    multiIf(
        found = post.accepted, 'balanced',
        found > post.accepted, 'excess',
        answered, 'missing',
        'unanswered'
    ) as status
from (select * from receipt_parts final) as post
left join (select * from answered_posts final) as process on substring(post.receipt, 1, 20) = process.instance
left join (
    select receipt, count() as rows from refusals where refused and target = 'events' group by receipt
) as aside on post.receipt = aside.receipt;
