-- The lifecycle of a mail for a recipient is a join-semilattice over its unique events. The materialized view turns each
-- event into the lifecycle that it would be alone, and AggregatingMergeTree joins rows of one key: minima, maxima, sums.
--
-- A text is the one of the earliest event that has it, the smaller id first among equals. It is stored behind 8 bytes
-- of time and 16 bytes of id, both of which sort as bytes do, so that the minimum of these words is the right one; a
-- missing text is a byte that sorts behind every time.
create table if not exists lifecycle_states
(
    source LowCardinality(String),
    message_id String,
    recipient String,
    severity SimpleAggregateFunction(max, UInt8),
    queued_at SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))),
    first_deferred_at SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))),
    last_deferred_at SimpleAggregateFunction(max, Nullable(DateTime64(3, 'UTC'))),
    delivered_at SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))),
    failed_at SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))),
    bounced_at SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))),
    first_seen_at SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    last_seen_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    deferrals SimpleAggregateFunction(sum, UInt64),
    events SimpleAggregateFunction(sum, UInt64),
    bounce_code SimpleAggregateFunction(min, String),
    bounce_class SimpleAggregateFunction(min, String),
    bounce_reason SimpleAggregateFunction(min, String),
    failed_reason SimpleAggregateFunction(min, String),
    bounced_reason SimpleAggregateFunction(min, String),
    sender SimpleAggregateFunction(min, String),
    subject SimpleAggregateFunction(min, String),
    api_data SimpleAggregateFunction(min, String),
    composition SimpleAggregateFunction(min, String)
)
engine = AggregatingMergeTree
order by (message_id, recipient, source)
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    min_bytes_for_wide_part = 134217728;

create materialized view if not exists lifecycle_states_of_events to lifecycle_states as
with
    -- Adding 2^63 makes times before 1970 sort before those after it.
    concat(
        reinterpret(byteSwap(bitXor(reinterpretAsUInt64(toUnixTimestamp64Milli(event.occurred_at)), 0x8000000000000000)), 'FixedString(8)'),
        unhex(event.id)
    ) as place,
    event.type = 'failed' as is_failure,
    event.type = 'bounced' as is_bounce
select
    event.source as source,
    event.message_id as message_id,
    event.recipient as recipient,
    transform(event.type, ['queued', 'deferred', 'delivered', 'failed', 'bounced'], [0, 1, 2, 3, 4], 0)::UInt8 as severity,
    if(event.type = 'queued', event.occurred_at, null) as queued_at,
    if(event.type = 'deferred', event.occurred_at, null) as first_deferred_at,
    if(event.type = 'deferred', event.occurred_at, null) as last_deferred_at,
    if(event.type = 'delivered', event.occurred_at, null) as delivered_at,
    if(is_failure, event.occurred_at, null) as failed_at,
    if(is_bounce, event.occurred_at, null) as bounced_at,
    event.occurred_at as first_seen_at,
    event.occurred_at as last_seen_at,
    event.type = 'deferred' as deferrals,
    1 as events,
    if(is_bounce and event.bounce_code != '', concat(place, event.bounce_code), unhex('FF')) as bounce_code,
    if(is_bounce and event.bounce_class != '', concat(place, event.bounce_class), unhex('FF')) as bounce_class,
    if(is_bounce and event.bounce_reason != '', concat(place, event.bounce_reason), unhex('FF')) as bounce_reason,
    if(is_failure and event.reason != '', concat(place, event.reason), unhex('FF')) as failed_reason,
    if(is_bounce and event.reason != '', concat(place, event.reason), unhex('FF')) as bounced_reason,
    if(event.sender != '', concat(place, event.sender), unhex('FF')) as sender,
    if(event.subject != '', concat(place, event.subject), unhex('FF')) as subject,
    if(event.api_data != '', concat(place, event.api_data), unhex('FF')) as api_data,
    if(event.composition != '', concat(place, event.composition), unhex('FF')) as composition
from events as event
where event.message_id != '' and event.type in ('queued', 'deferred', 'delivered', 'failed', 'bounced');

create view if not exists lifecycles as
select
    source,
    message_id,
    recipient,
    ['queued', 'deferred', 'delivered', 'failed', 'bounced'][severity + 1] as state,
    joined.queued_at::Nullable(DateTime64(3, 'UTC')) as queued_at,
    joined.first_deferred_at::Nullable(DateTime64(3, 'UTC')) as first_deferred_at,
    joined.last_deferred_at::Nullable(DateTime64(3, 'UTC')) as last_deferred_at,
    joined.delivered_at::Nullable(DateTime64(3, 'UTC')) as delivered_at,
    joined.failed_at::Nullable(DateTime64(3, 'UTC')) as failed_at,
    joined.bounced_at::Nullable(DateTime64(3, 'UTC')) as bounced_at,
    joined.first_seen_at::DateTime64(3, 'UTC') as first_seen_at,
    joined.last_seen_at::DateTime64(3, 'UTC') as last_seen_at,
    joined.deferrals::UInt64 as deferrals,
    joined.events::UInt64 as events,
    substring(joined.bounce_code, 25) as bounce_code,
    substring(joined.bounce_class, 25) as bounce_class,
    substring(joined.bounce_reason, 25) as bounce_reason,
    substring(joined.failed_reason, 25) as failed_reason,
    substring(joined.bounced_reason, 25) as bounced_reason,
    substring(joined.sender, 25) as sender,
    substring(joined.subject, 25) as subject,
    substring(joined.api_data, 25) as api_data,
    substring(joined.composition, 25) as composition,
    (toUnixTimestamp64Milli(delivered_at) - toUnixTimestamp64Milli(queued_at)) / 1000 as delivery_seconds
from lifecycle_states as joined final;
