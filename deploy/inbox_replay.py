"""A span of the inbox through the pipeline again: exact copies of its records, whose parts count for nothing twice.

The books know a part of a post by its number, so a copy of a part that arrived is left out of them, and its events are
duplicates. Copies are made of nothing else:

- what the worker has not answered yet is under way by itself,
- what it gave up on lies among the dead letters, to be replayed from there,
- what it answered and ClickHouse does not know was lost behind it. To the worker its events are duplicates: put into
  the inbox again they would look as if they had been counted,
- what is older than the horizon, or nearly, may be forgotten when its copy is worked off, and would count as new. A
  record is as old as the oldest of its events, which may have come in an earlier post.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.broker import admin_client, reader
from deploy.progress import last_stamps
from deploy.settings import Settings
from deploy.span import Span
from deploy.tables import Tables, lists
from ingest.publisher import KafkaPublisher
from streams.contracts import codec
from streams.contracts.clock import Clock, Deadline, rfc3339
from streams.contracts.errors import FormError
from streams.contracts.sections import Inbox
from streams.contracts.topics import CHUNK_LIMIT, OUTBOX_LIMIT

FETCH_MS = 1000
CLOSE_WITHIN = 10.0
MARGIN = timedelta(hours=1)
"""How near to the horizon nothing is copied any more: a copy is worked off some time after its record was looked at."""
NAMED = 20
"""Places that are named of what was lost."""
FORGOTTEN = """
select id from events
where occurred_at between parseDateTime64BestEffort({{first:String}}, 3, 'UTC') - interval 1 day
    and parseDateTime64BestEffort({{last:String}}, 3, 'UTC') + interval 1 day
    and id in ({ids})
group by id
having max(received_at) < parseDateTime64BestEffort({{oldest:String}}, 3, 'UTC')
"""
ARRIVED = """
select receipt, place.shard as shard, place.offset as at
from receipt_parts
array join places as place
where receipt in ({receipts})
"""
GIVEN_UP = "select distinct partition, offset as at from dead_letters where receipt = '' and topic = {topic:String}"

At = tuple[int, int]
"""Shard and offset."""


@dataclass(slots=True)
class Outcome:
    """What became, or would become, of the records of the span."""

    records: int = 0
    copied: int = 0
    events: int = 0
    """In the copies, by their receipts."""
    pending: int = 0
    """The worker has not answered them."""
    given_up: int = 0
    """They are among the dead letters."""
    too_old: int = 0
    bare: int = 0
    """Notes of which posts were answered, without events."""
    lost: list[str] | None = None
    """Places ``shard:offset`` of what was lost behind the worker."""

    @property
    def lost_places(self) -> list[str]:
        """The same, as a list."""
        return self.lost or []


@dataclass(frozen=True, slots=True)
class _Found:
    at: At
    written: datetime
    value: bytes
    receipts: tuple[str, ...]
    events: Mapping[str, str]
    """By id, the time at which each occurred."""


class InboxReplay:
    """One run of ``todoke replay --inbox``."""

    def __init__(self, *, settings: Settings, clock: Clock, dry_run: bool) -> None:
        """Describe it; ``dry_run``: read, and do nothing."""
        self._settings = settings
        self._clock = clock
        self._dry_run = dry_run
        self.outcome = Outcome()

    async def run(self, span: Span) -> None:
        """Copy the records that entered the inbox in a span of time.

        Raises:
            TodokeError: Kafka or ClickHouse does not answer.
        """
        settings, topics = self._settings, self._settings.topics.topics()
        publisher = KafkaPublisher(kafka=settings.kafka, topic=topics.inbox, compression=settings.ingest.compression)
        limits = {"fetch_max_bytes": OUTBOX_LIMIT, "max_partition_fetch_bytes": OUTBOX_LIMIT}
        async with (
            Tables(settings.clickhouse) as tables,
            admin_client(settings.kafka) as admin,
            reader(settings.kafka, auto_offset_reset="none", **limits) as consumer,
        ):
            counts = {entry["topic"]: len(entry["partitions"]) for entry in await admin.describe_topics()}
            outbox, inbox = (
                [TopicPartition(topic.name, number) for number in range(counts[topic.name])]
                for topic in (topics.outbox, topics.inbox)
            )
            stamps = await last_stamps(consumer, outbox)
            rows = await tables.rows(GIVEN_UP, topic=topics.inbox.name)
            given_up = {(row["partition"], row["at"]) for row in rows}
            await publisher.start()
            try:
                async for some in _records(consumer, inbox, span):
                    chosen = self._sorted_out(some, stamps, given_up)
                    await self._copy(tables, publisher, chosen)
            finally:
                await publisher.stop(Deadline(CLOSE_WITHIN, self._clock))

    def _sorted_out(self, some: Sequence[_Found], stamps: dict[int, int], given_up: set[At]) -> list[_Found]:
        outcome = self.outcome
        oldest = oldest_copied(self._clock.now(), self._settings.worker.horizon_days)
        kept = []
        for found in some:
            shard, offset = found.at
            outcome.records += 1
            if found.at in given_up:
                outcome.given_up += 1
            elif offset > stamps.get(shard, -1):
                outcome.pending += 1
            elif not found.receipts:
                outcome.bare += 1
            elif found.written < oldest:
                outcome.too_old += 1
            else:
                kept.append(found)
        return kept

    async def _copy(self, tables: Tables, publisher: KafkaPublisher, some: Sequence[_Found]) -> None:
        if not some:
            return
        arrived: set[tuple[str, int, int]] = set()
        for names in lists({name for found in some for name in found.receipts}):
            rows = await tables.rows(ARRIVED.format(receipts=names))
            arrived.update((row["receipt"], row["shard"], row["at"]) for row in rows)
        forgotten = await self._forgotten(tables, some)
        for found in some:
            if not all((name, *found.at) in arrived for name in found.receipts):
                shard, offset = found.at
                self.outcome.lost = [*self.outcome.lost_places, f"{shard}:{offset}"]
                continue
            if not forgotten.isdisjoint(found.events):
                self.outcome.too_old += 1
                continue
            self.outcome.copied += 1
            self.outcome.events += len(found.events)
            if not self._dry_run:
                await publisher.publish(found.at[0], found.value)

    async def _forgotten(self, tables: Tables, some: Sequence[_Found]) -> set[str]:
        """Name the events of some records that came for the first time before the horizon."""
        times = [time for found in some for time in found.events.values()]
        oldest = rfc3339(oldest_copied(self._clock.now(), self._settings.worker.horizon_days))
        forgotten: set[str] = set()
        for ids in lists({id_ for found in some for id_ in found.events}):
            rows = await tables.rows(FORGOTTEN.format(ids=ids), first=min(times), last=max(times), oldest=oldest)
            forgotten.update(row["id"] for row in rows)
        return forgotten


def oldest_copied(now: datetime, horizon_days: int) -> datetime:
    """Tell from when on what entered the inbox is copied."""
    return now - timedelta(days=horizon_days) + MARGIN


async def _records(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], span: Span
) -> AsyncIterator[list[_Found]]:
    """Read what entered the inbox in a span of time and before now, some records at a time."""
    consumer.assign(partitions)
    begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    first = begins if span.since is None else {**ends, **await _at(consumer, partitions, span.since)}
    behind = ends if span.until is None else {**ends, **await _at(consumer, partitions, span.until)}
    for partition in partitions:
        consumer.seek(partition, first[partition])
    open_ = {partition for partition in partitions if first[partition] < behind[partition]}
    while open_:
        for partition, records in (await consumer.getmany(*open_, timeout_ms=FETCH_MS)).items():
            yield [
                _found(record.partition, record.offset, record.timestamp, record.value or b"")
                for record in records
                if record.offset < behind[partition]
            ]
        open_ = {partition for partition in open_ if await consumer.position(partition) < behind[partition]}


async def _at(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], moment: datetime
) -> dict[TopicPartition, int]:
    milliseconds = int(moment.timestamp() * 1000)
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, milliseconds))
    return {partition: place.offset for partition, place in found.items() if place is not None}


def _found(shard: int, offset: int, timestamp: int, value: bytes) -> _Found:
    written = datetime.fromtimestamp(timestamp / 1000, UTC)
    try:
        record = codec.decode(value, CHUNK_LIMIT)
        parts = [orjson.loads(line) for line in record.section(Inbox.RECEIPTS).splitlines()]
        names = tuple(part["receipt"] for part in parts)
        events = dict(_identities(record.section(Inbox.EVENTS)))
    except (FormError, ValueError, KeyError, TypeError):
        return _Found((shard, offset), written, value, (), {})
    # Its dead letters are in the table already; the receipts count them as copies, with or without their bytes.
    kept = {name: lines for name, lines in record.sections.items() if name != Inbox.DEAD_LETTERS}
    header = {name: value_ for name, value_ in record.header.items() if name not in ("form", "sections")}
    return _Found((shard, offset), written, codec.encode(header, kept), names, events)


def _identities(section: bytes) -> Iterator[tuple[str, str]]:
    """Read id and time of the events in a section, but for lines that are none: the worker put those aside."""
    for line in section.splitlines():
        try:
            event = orjson.loads(line)
            id_, time = event["id"], event["occurred_at"]
            if isinstance(id_, str) and rfc3339(datetime.fromisoformat(time)) == time:
                yield id_, time
        except (ValueError, KeyError, TypeError, OverflowError):
            continue
