-- The element of a tuple that stands behind a dot may be read as a column of its own, and what ClickHouse reads so it does
-- not join under `final`: an address that was blocked and lifted stayed in the list until its parts were merged. Here
-- the latest word is found first, whatever the parts.
create or replace view suppressions as
select
    source,
    recipient,
    tupleElement(latest_word, 'reason') as reason,
    tupleElement(latest_word, 'at') as since,
    null::Nullable(DateTime64(3, 'UTC')) as until,
    tupleElement(latest_word, 'event') as event
from (select source, recipient, max(latest) as latest_word from suppression_states group by source, recipient)
where tupleElement(latest_word, 'blocked');
