"""Posting to ingest and reading what it stored."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ingest.role import IngestRole
from ingest.settings import IngestSettings, SourceSettings, default_sources
from streams.contracts.codec import Record, decode
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import Topics

PAYLOADS = Path(__file__).parents[2] / "payloads" / "customers-mail-cloud"
PAYLOAD = (PAYLOADS / "deliveries-queued.json").read_bytes()
SHARDS = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """One record of the inbox."""

    shard: int
    headers: Sequence[tuple[str, bytes]]
    record: Record

    def lines(self, section: str) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.record.section(section).splitlines()]


async def create_inbox(bootstrap_servers: str, topics: Topics) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topics.inbox.name, SHARDS, 1, topic_configs=topics.inbox.config)])
    finally:
        await admin.close()


def ingest(
    bootstrap_servers: str, topics: Topics, *, sources: Mapping[str, SourceSettings] | None = None, **settings: object
) -> IngestRole:
    return IngestRole(
        settings=IngestSettings.model_validate({"port": 0, "tell_answered_every": 0.1, "probe_every": 0.1, **settings}),
        sources=sources or default_sources(),
        kafka=KafkaConnection(bootstrap_servers=bootstrap_servers),
        topics=topics,
    )


async def post(http: aiohttp.ClientSession, role: IngestRole, raw: bytes = PAYLOAD) -> tuple[int, Mapping[str, Any]]:
    headers = {"Content-Type": "application/json"}
    async with http.post(f"{role.url}/v1/webhooks/cmc", data=io.BytesIO(raw), headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def read_inbox(bootstrap_servers: str, topics: Topics) -> list[Stored]:
    """Read everything that the inbox holds now, shard by shard."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topics.inbox.name, shard) for shard in range(SHARDS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found = []
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                record = await consumer.getone(partition)
                found.append(Stored(partition.partition, record.headers, decode(record.value or b"")))
        return found
    finally:
        await consumer.stop()
