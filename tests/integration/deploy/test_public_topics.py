"""The public topics against the tables, real ones: what one of them lacks is named."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from deploy.public_topics import differences
from deploy.settings import Settings
from deploy.span import ALL, span
from deploy.tables import Tables
from streams.contracts.events import Event
from tests.chunks import make_event

MAILS = tuple(
    make_event(message_id=f"{number}@x", received_at=f"2026-03-02T0{hour}:10:00.000Z")
    for number, hour in enumerate((1, 1, 2, 3))
)


async def publish(settings: Settings, events: Sequence[Event], *, aborted: bool = False) -> None:
    topics = settings.topics.topics()
    producer = AIOKafkaProducer(**settings.kafka.client_options(), transactional_id=topics.events.name)
    async with producer:
        await producer.begin_transaction()
        for event in events:
            await producer.send_and_wait(
                topics.events.name,
                json.dumps(event, separators=(",", ":")).encode(),
                headers=[("id", event["id"].encode())],
            )
            key = "\x1f".join((event["source"], event["message_id"], event["recipient"])).encode()
            await producer.send_and_wait(topics.lifecycles.name, b"{}", key=key)
        await (producer.abort_transaction() if aborted else producer.commit_transaction())


async def insert(settings: Settings, events: Sequence[Event]) -> None:
    async with Tables(settings.clickhouse) as tables:
        await tables.insert("events", b"".join(json.dumps(event).encode() + b"\n" for event in events))


async def test_the_same_on_both_sides_is_no_difference(settings: Settings) -> None:
    await publish(settings, MAILS)
    await publish(settings, [make_event(message_id="aborted@x")], aborted=True)
    await insert(settings, MAILS)

    assert await differences(settings, ALL) == []


async def test_what_one_side_lacks_is_named(settings: Settings) -> None:
    first, second, third, fourth = MAILS
    await publish(settings, [first, third, fourth])
    await insert(settings, [first, second, fourth])
    name = settings.topics.topics().events.name

    events, *keys = await differences(settings, ALL)
    assert (
        f"{name}: 1 events received at 2026-03-02T01h are in the table and not in the topic: {second['id']}" in events
    )
    assert "(2 hours differ)" in events
    assert [sentence.partition(" keys are ")[2] for sentence in keys] == [
        "in the table and not in the topic: cmc | 1@x | user@example.jp",
        "in the topic and not in the table: cmc | 2@x | user@example.jp",
    ]

    later = span("2026-03-02T02:00:00Z", "2026-03-02T03:00:00Z", datetime.now(UTC))
    (told,) = await differences(settings, later)
    assert f"in the topic and not in the table: {third['id']} of {third['receipt']}" in told
    assert await differences(settings, span("2026-03-02T03:00:00Z", None, datetime.now(UTC))) == []


async def test_an_event_that_stands_twice_in_the_topic_is_named(settings: Settings) -> None:
    await publish(settings, [*MAILS, MAILS[0]])
    await insert(settings, MAILS)

    (told,) = await differences(settings, ALL)
    assert "twice in the topic" in told
    assert MAILS[0]["id"] in told
