-- Counts of unique events by hour and by the domains of both sides; a sender may be written `Name <name@domain>`.
create table if not exists hourly_counts
(
    hour DateTime64(3, 'UTC'),
    source LowCardinality(String),
    composition LowCardinality(String),
    sender_domain String,
    recipient_domain String,
    queued UInt64,
    deferred UInt64,
    delivered UInt64,
    failed UInt64,
    bounced UInt64,
    hard_bounces UInt64,
    soft_bounces UInt64,
    block_bounces UInt64
)
engine = SummingMergeTree
order by (hour, source, composition, sender_domain, recipient_domain)
settings
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1;

-- Domains are few: as dictionaries they are grouped in half the time.
create materialized view if not exists hourly_counts_of_events to hourly_counts as
select
    fromUnixTimestamp64Milli(
        toUnixTimestamp64Milli(event.occurred_at) - positiveModulo(toUnixTimestamp64Milli(event.occurred_at), 3600000),
        'UTC'
    ) as hour,
    event.source as source,
    event.composition as composition,
    if(
        position(event.sender, '@') = 0,
        '',
        lower(trimBoth(substringIndex(substringIndex(event.sender, '@', -1), '>', 1)))
    )::LowCardinality(String) as sender_domain,
    if(
        position(event.recipient, '@') = 0,
        '',
        substringIndex(event.recipient, '@', -1)
    )::LowCardinality(String) as recipient_domain,
    countIf(event.type = 'queued') as queued,
    countIf(event.type = 'deferred') as deferred,
    countIf(event.type = 'delivered') as delivered,
    countIf(event.type = 'failed') as failed,
    countIf(event.type = 'bounced') as bounced,
    countIf(event.type = 'bounced' and event.bounce_class = 'hard') as hard_bounces,
    countIf(event.type = 'bounced' and event.bounce_class = 'soft') as soft_bounces,
    countIf(event.type = 'bounced' and event.bounce_class = 'block') as block_bounces
from events as event
where event.type in ('queued', 'deferred', 'delivered', 'failed', 'bounced')
group by hour, source, composition, sender_domain, recipient_domain;

create view if not exists stats_hourly as
select
    hour,
    source,
    composition,
    sender_domain,
    recipient_domain,
    sum(counts.queued) as queued,
    sum(counts.deferred) as deferred,
    sum(counts.delivered) as delivered,
    sum(counts.failed) as failed,
    sum(counts.bounced) as bounced,
    sum(counts.hard_bounces) as hard_bounces,
    sum(counts.soft_bounces) as soft_bounces,
    sum(counts.block_bounces) as block_bounces
from hourly_counts as counts
group by hour, source, composition, sender_domain, recipient_domain;

-- What became of the mails that were queued on a day. A mail is counted once, by its state now.
create view if not exists cohorts_daily as
select
    assumeNotNull(toDate32(queued_at)) as day,
    source,
    composition,
    if(position(sender, '@') = 0, '', lower(trimBoth(substringIndex(substringIndex(sender, '@', -1), '>', 1)))) as sender_domain,
    if(position(recipient, '@') = 0, '', substringIndex(recipient, '@', -1)) as recipient_domain,
    count() as queued,
    countIf(state = 'delivered') as delivered,
    countIf(state = 'failed') as failed,
    countIf(state = 'bounced') as bounced,
    countIf(state in ('queued', 'deferred')) as open,
    delivered / queued as delivery_rate,
    bounced / queued as bounce_rate,
    failed / queued as failure_rate,
    quantileTDigestOrNull(0.5)(delivery_seconds) as delivery_seconds_p50,
    quantileTDigestOrNull(0.9)(delivery_seconds) as delivery_seconds_p90,
    quantileTDigestOrNull(0.99)(delivery_seconds) as delivery_seconds_p99
from lifecycles
where queued_at is not null
group by day, source, composition, sender_domain, recipient_domain;
