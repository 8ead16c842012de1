"""The public topics against the tables: the same events, lifecycles, suppressions and dead letters.

Every topic is read from beginning to end, committed records only. Events are compared by hours of ``received_at``: how
many there are, and the sum of their ids, so that memory stays flat; only the first hour that differs is read again and
compared id by id. Lifecycles and suppressions are compared by their keys, which are held in memory.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from deploy.broker import admin_client, reader
from deploy.settings import Settings
from deploy.span import ALL, Span
from deploy.tables import Tables
from deploy.topics import TopicsDifferError
from streams.contracts.identity import SEPARATOR

NAMED = 5
"""Keys or ids that a sentence names."""
WORD = 2**64
FETCH_MS = 1000
LATER = timedelta(hours=1)
"""How much earlier than the time at which it was received a record may say that it was written: clocks differ."""
RECEIVED, RECEIPT = b'"received_at":"', b'"receipt":"'
"""Fields of an event's line. A quote inside a text is escaped, so neither can come from one."""
HOUR_DIGITS, TIME_DIGITS, RECEIPT_DIGITS = 13, 24, 32

EVENTS = """
select
    formatDateTime(received_at, '%Y-%m-%dT%H', 'UTC') as hour,
    count() as number,
    sum(reinterpretAsUInt64(reverse(unhex(substring(id, 1, 16))))) as ids
from events
where {condition}
group by hour
"""
IDS = """
select id, receipt from events
where formatDateTime(received_at, '%Y-%m-%dT%H', 'UTC') = {{hour:String}} and {condition}
"""
LIFECYCLES = "select concat(source, '\x1f', message_id, '\x1f', recipient) as key from lifecycles group by key"
SUPPRESSIONS = "select concat(source, '\x1f', recipient) as key from suppressions group by key"
DEAD_LETTERS = "select count() as number from dead_letters where reason != 'row_refused'"


Record = ConsumerRecord[bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class _Public:
    """The topics, to be read."""

    consumer: AIOKafkaConsumer
    partitions: Mapping[str, int]
    """Of each topic, how many."""


@dataclass(slots=True)
class _Sum:
    number: int = 0
    ids: int = 0

    def add(self, event_id: bytes) -> None:
        self.number += 1
        self.ids = (self.ids + int(event_id[:16], 16)) % WORD


@dataclass(slots=True)
class _Hours:
    """The events of a topic, by the hour in which they were received."""

    sums: dict[str, _Sum] = field(default_factory=dict)
    floor: str = ""
    """The last hour of which the topic may have lost a part to its retention."""


async def differences(settings: Settings, span: Span) -> list[str]:
    """Compare, and tell in a sentence each what the topics hold otherwise than the tables.

    Over a span of time only events are compared: the other topics hold what is true now.

    Raises:
        TodokeError: Kafka or ClickHouse does not answer.
    """
    topics = settings.topics.topics()
    names = [topics.events.name, topics.lifecycles.name, topics.suppressions.name, topics.deadletter.name]
    options = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    async with admin_client(settings.kafka) as admin:
        partitions = {entry["topic"]: len(entry["partitions"]) for entry in await admin.describe_topics()}
    absent = [name for name in names if name not in partitions]
    if absent:
        raise TopicsDifferError(f"Kafka has no topic {' and no '.join(absent)}: run `todoke topics`")
    async with Tables(settings.clickhouse) as tables, reader(settings.kafka, **options) as consumer:
        public = _Public(consumer, partitions)
        found = await _events(public, tables, names[0], span)
        if span.is_all:
            found += await _keys(public, tables, names[1], LIFECYCLES)
            found += await _keys(public, tables, names[2], SUPPRESSIONS)
            found += await _dead_letters(public, tables, names[3])
    return found


async def _events(public: _Public, tables: Tables, topic: str, span: Span) -> list[str]:
    condition = span.condition("received_at")
    held = {
        row["hour"]: _Sum(row["number"], row["ids"]) for row in await tables.rows(EVENTS.format(condition=condition))
    }
    published = await _hours(public, topic, span)
    differing = sorted(
        hour
        for hour in held.keys() | published.sums.keys()
        if hour > published.floor and held.get(hour, _Sum()) != published.sums.get(hour, _Sum())
    )
    if not differing:
        return []
    first = differing[0]
    in_table = {row["id"]: row["receipt"] for row in await tables.rows(IDS.format(condition=condition), hour=first)}
    in_topic: dict[str, str] = {}
    twice = []
    since, until = span.texts
    async for record in _records(public, topic, span):
        time = _text(record, RECEIVED, TIME_DIGITS)
        if time[:HOUR_DIGITS] == first and since <= time < until:
            name = _id(record).decode()
            if name in in_topic:
                twice.append(f"{name} at {record.partition}:{record.offset}")
            in_topic[name] = _text(record, RECEIPT, RECEIPT_DIGITS)
    told = []
    for what, some in (
        ("in the table and not in the topic", [f"{name} of {in_table[name]}" for name in in_table.keys() - in_topic]),
        ("in the topic and not in the table", [f"{name} of {in_topic[name]}" for name in in_topic.keys() - in_table]),
        ("twice in the topic", twice),
    ):
        if some:
            told.append(f"{topic}: {len(some)} events received at {first}h are {what}: {_first(some)}")
    more = f" ({len(differing)} hours differ)" if len(differing) > 1 else ""
    return [sentence + more for sentence in told] or [f"{topic} changed while it was read: audit again"]


async def _hours(public: _Public, topic: str, span: Span) -> _Hours:
    hours = _Hours()
    begun: set[int] = set()
    since, until = span.texts
    async for record in _records(public, topic, span):
        time = _text(record, RECEIVED, TIME_DIGITS)
        hour = time[:HOUR_DIGITS]
        if record.partition not in begun:
            begun.add(record.partition)
            if record.offset > 0 and span.since is None:
                hours.floor = max(hours.floor, hour)
        if since <= time < until:
            hours.sums.setdefault(hour, _Sum()).add(_id(record))
    return hours


async def _keys(public: _Public, tables: Tables, topic: str, query: str) -> list[str]:
    held = {row["key"] for row in await tables.rows(query)}
    published: set[str] = set()
    async for record in _records(public, topic, ALL):
        key = (record.key or b"").decode("utf-8", "replace")
        (published.discard if record.value is None else published.add)(key)
    told = []
    for what, some in (
        ("in the table and not in the topic", held - published),
        ("in the topic and not in the table", published - held),
    ):
        if some:
            told.append(f"{topic}: {len(some)} keys are {what}: {_first([_readable(key) for key in some])}")
    return told


async def _dead_letters(public: _Public, tables: Tables, topic: str) -> list[str]:
    (held,) = await tables.rows(DEAD_LETTERS)
    number = 0
    cut = False
    async for record in _records(public, topic, ALL):
        cut = cut or (number == 0 and record.offset > 0)
        number += 1
    if cut or number == held["number"]:
        return []
    return [f"{topic}: {number} records, where the table has {held['number']} rows"]


async def _records(public: _Public, topic: str, span: Span) -> AsyncIterator[Record]:
    """Read a topic to the end that it has now, from the time of the span on."""
    partitions = [TopicPartition(topic, number) for number in range(public.partitions[topic])]
    consumer = public.consumer
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    await consumer.seek_to_beginning(*partitions)
    if span.since is not None:
        at = int((span.since - LATER).timestamp() * 1000)
        for partition, found in (await consumer.offsets_for_times(dict.fromkeys(partitions, at))).items():
            consumer.seek(partition, ends[partition] if found is None else found.offset)
    open_ = set(partitions)
    while open_:
        for records in (await consumer.getmany(*open_, timeout_ms=FETCH_MS)).values():
            for record in records:
                if record.offset < ends[TopicPartition(topic, record.partition)]:
                    yield record
        open_ = {partition for partition in open_ if await consumer.position(partition) < ends[partition]}


def _id(record: Record) -> bytes:
    return next((value for name, value in record.headers if name == "id"), b"0")


def _text(record: Record, field_: bytes, digits: int) -> str:
    value = record.value or b""
    at = value.rfind(field_) + len(field_)
    return value[at : at + digits].decode("ascii", "replace")


def _first(some: list[str]) -> str:
    return ", ".join(sorted(some)[:NAMED]) + (" …" if len(some) > NAMED else "")


def _readable(key: str) -> str:
    return key.replace(SEPARATOR, " | ")
