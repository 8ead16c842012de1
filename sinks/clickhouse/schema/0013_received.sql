-- Events stand by when they happened, which is mostly soon before they were received: so the audit of a span of time
-- passes over nearly all of them.
alter table events
    add index if not exists by_received_at received_at type minmax granularity 1;
