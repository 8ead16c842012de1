"""A place for the worker to play: topics of its own, records put in, the outbox read by the readers' rule."""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete
from prometheus_client import CollectorRegistry

from streams.archive import Archive
from streams.contracts.chain import Chain
from streams.contracts.clock import Clock, Deadline, SystemClock
from streams.contracts.codec import FORM_HEADER, Record
from streams.contracts.kafka import KafkaConnection
from streams.contracts.outbox import read_outbox
from streams.contracts.sections import Outbox
from streams.contracts.topics import BROKERS_TIME, Topic, Topics, topics
from streams.inbox import entered_at
from streams.log import Log
from streams.role import WorkerRole
from streams.settings import WorkerSettings
from tests.chunks import rows
from tests.eventually import eventually

STOP_SECONDS = 20.0


@dataclass(slots=True)
class Told:
    """What one outbox partition tells its readers."""

    records: list[Record] = field(default_factory=list)
    """That count, founding ones included."""
    ignored: int = 0
    chain: Chain = field(default_factory=Chain)

    def rows(self, section: str) -> list[dict[str, Any]]:
        return [row for record in self.records for row in rows(record, section)]


@dataclass(slots=True)
class Stage:
    """One pipeline's topics in a broker."""

    bootstrap_servers: str
    shards: int
    topics: Topics
    group: str = field(default_factory=lambda: f"worker-{secrets.token_hex(4)}")

    @property
    def connection(self) -> KafkaConnection:
        return KafkaConnection(bootstrap_servers=self.bootstrap_servers)

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await client.start()
        try:
            yield client
        finally:
            await client.close()

    async def create(self, *which: Topic) -> None:
        async with self.admin() as admin:
            response: Any = await admin.create_topics(
                [
                    NewTopic(
                        topic.name,
                        self.shards,
                        1,
                        # Without the broker's time: tests say themselves when a record came.
                        topic_configs={key: value for key, value in topic.config.items() if key not in BROKERS_TIME},
                    )
                    for topic in which or (self.topics.inbox, self.topics.outbox)
                ]
            )
            assert [error[1] for error in response.topic_errors] == [0] * len(response.topic_errors), response
        async with Log(self.connection) as log:
            for topic in which or (self.topics.inbox, self.topics.outbox):
                # What was made is not known everywhere at once.
                await eventually(partial(log.partitions, topic.name), lambda count: count == self.shards)

    async def delete(self, topic: Topic) -> None:
        async with self.admin() as admin:
            await admin.delete_topics([topic.name])

    async def cut(self, topic: Topic, before: int = -1, *, shard: int = 0) -> None:
        """Have the broker forget what stands before an offset, as retention does; without one, everything."""
        async with self.admin() as admin:
            await admin.delete_records({TopicPartition(topic.name, shard): RecordsToDelete(before)})

    @contextlib.asynccontextmanager
    async def producer(self, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers, acks="all", max_request_size=20_000_000, **options
        )
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def put(
        self, chunks: Sequence[bytes | None], shard: int = 0, *, topic: Topic | None = None, at: str | None = None
    ) -> int:
        """Write records to the inbox, entering it at a time; give the offset of the last one."""
        name = (topic or self.topics.inbox).name
        milliseconds = None if at is None else round(datetime.fromisoformat(at).timestamp() * 1000)
        async with self.producer() as producer:
            sent = [
                # aiokafka takes a record without a value only if it has a key.
                await producer.send(
                    name,
                    chunk,
                    None if chunk else b"key",
                    partition=shard,
                    timestamp_ms=milliseconds,
                    headers=[FORM_HEADER],
                )
                for chunk in chunks
            ]
            return int((await asyncio.gather(*sent))[-1].offset)

    async def told(self, shard: int = 0) -> Told:
        """Read an outbox partition from its beginning to its end, as every reader does."""
        tp = TopicPartition(self.topics.outbox.name, shard)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers, auto_offset_reset="earliest", max_partition_fetch_bytes=20_000_000
        )
        await consumer.start()
        told = Told()
        try:
            consumer.assign([tp])
            await consumer.seek_to_beginning(tp)
            end = (await consumer.end_offsets([tp]))[tp]
            while await consumer.position(tp) < end:
                for found in (await consumer.getmany(tp, timeout_ms=500)).get(tp, ()):
                    read = read_outbox(found.value)
                    if read is not None and told.chain.follow(read[1]):
                        told.records.append(read[0])
                    else:
                        told.ignored += 1
        finally:
            await consumer.stop()
        return told

    async def entered(self, offset: int, shard: int = 0) -> str:
        """Tell when a record entered the inbox."""
        async with Log(self.connection) as log:
            async for record in log.read(self.topics.inbox.name, shard, offset, offset + 1):
                return entered_at(record.timestamp / 1000)
        raise LookupError(f"the inbox has no offset {offset}")

    async def extent(self, topic: Topic) -> int:
        """Count the records of a topic that there ever were, in all shards."""
        async with Log(self.connection) as log:
            return sum(extent.end for extent in (await log.extents(topic.name, range(self.shards))).values())

    async def commit(self, offset: int, shard: int = 0) -> None:
        """Commit an offset of the inbox for the workers' group, which nobody may be in."""
        tp = TopicPartition(self.topics.inbox.name, shard)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers, group_id=self.group, enable_auto_commit=False
        )
        await consumer.start()
        try:
            consumer.assign([tp])
            await consumer.commit({tp: offset})
        finally:
            await consumer.stop()

    def worker(
        self,
        *,
        instance: str | None = None,
        session_timeout: float = 6,
        archive: Archive | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> WorkerRole:
        return WorkerRole(
            settings=WorkerSettings(group=self.group, instance=instance, session_timeout=session_timeout, **settings),
            connection=self.connection,
            topics=self.topics,
            archive=archive,
            clock=clock,
            registry=CollectorRegistry(),
        )

    @contextlib.asynccontextmanager
    async def running(self, **settings: Any) -> AsyncIterator[WorkerRole]:
        worker = self.worker(**settings)
        await worker.start()
        try:
            yield worker
        finally:
            await worker.stop(Deadline(STOP_SECONDS, SystemClock()))

    async def work_off(self, within: float = 60.0, **settings: Any) -> None:
        """Have a worker answer everything that is there, and stop."""
        async with self.running(**settings) as worker, asyncio.timeout(within):
            await worker.until_idle()


def stage_in(bootstrap_servers: str, prefix: str, shards: int) -> Stage:
    """Describe a stage, not built yet."""
    return Stage(bootstrap_servers=bootstrap_servers, shards=shards, topics=topics(prefix))


def unique_ids(told: Mapping[int, Told] | Told) -> Counter[str]:
    """Count how often each event is told as new, which should be once."""
    parts = [told] if isinstance(told, Told) else told.values()
    return Counter(row["id"] for part in parts for row in part.rows(Outbox.EVENTS))
