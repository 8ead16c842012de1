-- Where in the inbox the parts of a post arrived. A part may arrive twice, from an ingest process that was killed before
-- it knew that the part had arrived: the copy's events are duplicates, or dead letters a second time, and count for
-- nothing in the books.
--
-- `arrivals` and `numbers` (a bit for each part, 64 parts on) tell without a look at the places that no part came twice.
alter table receipt_parts
    add column if not exists places SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(
        part UInt32,
        shard UInt32,
        `offset` Int64,
        events UInt64,
        dead_letters UInt64
    ))),
    add column if not exists arrivals SimpleAggregateFunction(sum, UInt64) default length(places),
    add column if not exists numbers SimpleAggregateFunction(groupBitOr, UInt64)
        default arrayReduce('groupBitOr', arrayMap(place -> bitShiftLeft(1::UInt64, place.part % 64), places)),
    add index if not exists by_received_at received_at type minmax granularity 1;

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
    post.unique::UInt64 as `unique`,
    (post.duplicate + copied_letters - copied)::UInt64 as duplicate,
    (post.dead_lettered - copied_letters)::UInt64 as dead_lettered,
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
left join (select * from answered_posts final) as process on substring(post.receipt, 1, 20) = process.instance;
