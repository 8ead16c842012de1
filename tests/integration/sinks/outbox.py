"""An outbox as the worker writes it, made by hand: each test says what stands in the log."""

import json
import secrets
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.contracts.chain import Link, draw_epoch
from streams.contracts.codec import encode
from streams.contracts.events import Event
from streams.contracts.kafka import KafkaConnection
from streams.contracts.sections import Outbox
from streams.contracts.topics import OUTBOX_LIMIT, Topics

T0 = "2026-03-02T09:00:00.000Z"


def event(number: int, **fields: str) -> Event:
    """Make an event of a message of its own; every field can be another one."""
    made = {
        "id": f"{number:032x}",
        "source": "cmc",
        "provider": "customers-mail-cloud",
        "composition": "pro",
        "type": "queued",
        "provider_status": "queued",
        "message_id": f"m{number}@example.com",
        "recipient": f"user{number}@example.net",
        "sender": "info@example.com",
        "return_path": "bounce@example.com",
        "subject": "Your receipt",
        "reason": "",
        "api_data": "",
        "source_ip": "192.0.2.10",
        "sender_ip": "",
        "bounce_code": "",
        "bounce_class": "",
        "bounce_reason": "",
        "occurred_at": f"2026-03-02T09:{number // 60 % 60:02d}:{number % 60:02d}.000Z",
        "occurred_raw": "2026-03-02 18:00:00",
        "received_at": "2026-03-02T10:00:00.000Z",
        "receipt": f"{number // 10:032x}",
    }
    return Event(**{**made, **fields})  # type: ignore[typeddict-item]  # the keys are the fields of an event


def lifecycle_line(of: Event, events: int = 1) -> bytes:
    """Write a lifecycle's line as the worker does, as far as a sink looks at it."""
    name = {key: of[key] for key in ("source", "message_id", "recipient")}
    return json.dumps(
        {**name, "state": of["type"], "events": events, "~": [[of["id"]], [0]]}, separators=(",", ":")
    ).encode()


def letter(number: int) -> dict[str, object]:
    """Make a dead letter that ingest found, of a body of two bytes."""
    return {
        "receipt": "0a",
        "number": number,
        "part": 0,
        "parts": 1,
        "source": "cmc",
        "reason": "body_unreadable",
        "detail": "",
        "topic": "",
        "partition": -1,
        "offset": -1,
        "version": "1",
        "raw_base64": "/wA=",
    }


def lines(values: Sequence[Any]) -> bytes:
    """Write values as newline-delimited JSON; bytes stand for themselves."""
    return b"".join(
        (value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
        + b"\n"
        for value in values
    )


def sections_of(events: Sequence[Event], **more: bytes) -> dict[str, bytes]:
    """Make the sections of a record: events, a lifecycle of each, a receipt over all of them."""
    sections = {
        Outbox.EVENTS.value: lines(events),
        Outbox.LIFECYCLES.value: lines([lifecycle_line(one) for one in events]),
    }
    return {**sections, **more}


class OutboxLog:
    """Writes one pipeline's outbox, keeping the chain of each partition."""

    def __init__(self, kafka: KafkaConnection, topics: Topics) -> None:
        self.topics = topics
        self.last: dict[int, Link] = {}
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            **self._kafka.client_options(), max_request_size=OUTBOX_LIMIT, enable_idempotence=True
        )
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._producer is not None
        await self._producer.stop()

    async def found(self, partition: int, *, stamp: int = -1, previous: int | None = None) -> Link:
        """Found the log of a partition."""
        link = Link(epoch=draw_epoch(), stamp=stamp, previous=previous, founding=True)
        await self.append(partition, link, {})
        self.last[partition] = link
        return link

    async def answer(self, partition: int, sections: Mapping[str, bytes]) -> Link:
        """Write the next record of the chain."""
        if partition not in self.last:
            await self.found(partition)
        last = self.last[partition]
        link = Link(epoch=last.epoch, stamp=last.stamp + 1, previous=last.stamp)
        await self.append(partition, link, sections)
        self.last[partition] = link
        return link

    async def append(self, partition: int, link: Link, sections: Mapping[str, bytes], **header: object) -> int:
        """Write any record, with more in its header; tell its offset."""
        return await self.put(partition, encode({**link.header(), "counts": {}, **header}, sections))

    async def put(self, partition: int, value: bytes) -> int:
        """Write anything; tell its offset."""
        assert self._producer is not None
        sent = await self._producer.send_and_wait(self.topics.outbox.name, value, partition=partition)
        return int(sent.offset)


async def make_topics(kafka: KafkaConnection, topics: Topics, *, partitions: int = 4) -> None:
    """Make all topics of a pipeline."""
    admin = AIOKafkaAdminClient(**kafka.client_options())
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(name=topic.name, num_partitions=partitions, replication_factor=1, topic_configs=topic.config)
                for topic in topics.all()
            ]
        )
    finally:
        await admin.close()


def draw_name() -> str:
    """Draw a name that no other test has."""
    return secrets.token_hex(6)
