-- Who must not be mailed, as the provider's own block list was heard to say: the latest word of each address counts,
-- and of two at one time the one that says blocked.
create table if not exists suppression_states
(
    source LowCardinality(String),
    recipient String,
    latest SimpleAggregateFunction(max, Tuple(
        at DateTime64(3, 'UTC'),
        blocked UInt8,
        event String,
        reason String
    ))
)
engine = AggregatingMergeTree
order by (recipient, source)
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1;

create materialized view if not exists suppression_states_of_events to suppression_states as
select
    event.source as source,
    event.recipient as recipient,
    (
        event.occurred_at,
        event.type = 'blocked',
        event.id,
        if(event.reason = '' and event.type = 'blocked', 'blocked by the provider', event.reason)
    ) as latest
from events as event
where event.type in ('blocked', 'unblocked') and event.recipient != '';

create view if not exists suppressions as
select
    source,
    recipient,
    latest.reason as reason,
    latest.at as since,
    null::Nullable(DateTime64(3, 'UTC')) as until,
    latest.event as event
from suppression_states final
where latest.blocked;
