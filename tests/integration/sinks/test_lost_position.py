"""The topics sink without a position: it goes on behind what was published, and nothing is published twice.

A group of another name knows no positions, as one that Kafka has forgotten.
"""

import logging
from collections.abc import Sequence

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.embedded.kafka import EmbeddedKafka
from streams.contracts.chain import Link
from streams.contracts.events import Event
from streams.contracts.kafka import KafkaConnection
from streams.contracts.sections import Outbox
from streams.contracts.topics import topics
from tests.eventually import eventually
from tests.integration.sinks.conftest import SETTINGS
from tests.integration.sinks.outbox import OutboxLog, draw_name, event, letter, lines, sections_of
from tests.integration.sinks.running import Place, drain
from tests.integration.sinks.test_topics_sink import PARTITIONS, consume, expected_ids, ids, write


async def assert_exactly_once(place: Place, *, events: int, letters: int = 0) -> None:
    """Each event, lifecycle and dead letter is there once; `write` makes a lifecycle more for each of its records."""
    names = place.topics
    assert ids(await consume(place, names.events.name)) == expected_ids(events)
    assert len(await consume(place, names.lifecycles.name)) == events + events // 10
    found = [dict(record.headers)["number"] for record in await consume(place, names.deadletter.name)]
    assert sorted(found) == sorted(b"%d" % number for number in range(letters))


async def test_a_position_that_is_lost_is_recognised(
    topics_place: Place, log: OutboxLog, caplog: pytest.LogCaptureFixture
) -> None:
    written = await write(log, 400)
    await drain(topics_place.topics_role(block_events=30))

    with caplog.at_level(logging.WARNING, "sinks.topics"):
        await drain(topics_place.topics_role(group=draw_name()))  # it is committed, though nothing is to be published

    assert "Partition 3: its position is lost; what was published up to stamp 9 is recognised" in caplog.text
    await assert_exactly_once(topics_place, events=written)
    written = await write(log, 400, start=written)
    await drain(topics_place.topics_role(group=draw_name()))
    await assert_exactly_once(topics_place, events=written)


async def test_what_does_not_count_is_told_from_what_does_as_before(topics_place: Place, log: OutboxLog) -> None:
    written = await write(log, 80)
    await log.append(0, log.last[0], sections_of([event(1)]))
    await log.put(1, b"foreign")
    await drain(topics_place.topics_role())
    # The same again as somebody who lost the partition would write it, who does not know what came since.
    await log.append(0, log.last[0], sections_of([event(2)]))
    await log.append(1, Link(epoch=log.last[1].epoch, stamp=99, previous=98), sections_of([event(3)]))
    written = await write(log, 80, start=written)

    await drain(topics_place.topics_role(group=draw_name()))

    await assert_exactly_once(topics_place, events=written)


async def test_what_was_taken_back_at_the_end_does_not_count(topics_place: Place, log: OutboxLog) -> None:
    written = await write(log, 80)
    await drain(topics_place.topics_role())
    written = await write(log, 80, start=written)
    await take_back(topics_place, [event(number) for number in range(80, 90)] * 300)

    await drain(topics_place.topics_role(group=draw_name()))

    await assert_exactly_once(topics_place, events=written)


async def take_back(place: Place, events: Sequence[Event]) -> None:
    """Publish events in a transaction that is taken back."""
    producer = AIOKafkaProducer(bootstrap_servers=place.kafka.bootstrap_servers, transactional_id=draw_name())
    await producer.start()
    try:
        await producer.begin_transaction()
        for one in events:
            await producer.send(place.topics.events.name, lines([one]).rstrip(), partition=0)
        await producer.flush()
        await producer.abort_transaction()
    finally:
        await producer.stop()


async def test_dead_letters_alone_tell_how_far(topics_place: Place, log: OutboxLog) -> None:
    written = await write(log, 80)
    for number in range(8):
        await log.answer(number % 4, {Outbox.DEAD_LETTERS.value: lines([letter(number)])})
    await drain(topics_place.topics_role(block_events=1))
    for number in range(8, 12):
        await log.answer(number % 4, {Outbox.DEAD_LETTERS.value: lines([letter(number)])})
    written = await write(log, 40, start=written)

    await drain(topics_place.topics_role(group=draw_name()))

    await assert_exactly_once(topics_place, events=written, letters=12)


async def test_a_line_that_was_put_aside_tells_how_far(topics_place: Place, log: OutboxLog) -> None:
    written = await write(log, 80)
    for _ in range(2):
        await log.answer(0, {Outbox.EVENTS.value: lines([b'{"no":"event"}'])})
    await drain(topics_place.topics_role())
    await log.answer(0, {Outbox.EVENTS.value: lines([b'{"no":"event"}'])})
    written = await write(log, 40, start=written)

    await drain(topics_place.topics_role(group=draw_name()))

    assert ids(await consume(topics_place, topics_place.topics.events.name)) == expected_ids(written)
    letters = await consume(topics_place, topics_place.topics.deadletter.name)
    assert [dict(record.headers)["offset"] for record in letters] == [b"2", b"3", b"4"]


async def test_an_outbox_that_was_made_anew_is_published_from_its_beginning(
    topics_place: Place, log: OutboxLog
) -> None:
    written = await write(log, 80)
    await drain(topics_place.topics_role())
    await make_outbox_anew(topics_place)

    async with OutboxLog(topics_place.kafka, topics_place.topics) as other:
        written = await write(other, 80, start=written)
        await drain(topics_place.topics_role(group=draw_name()))
        await assert_exactly_once(topics_place, events=written)
        written = await write(other, 80, start=written)
        await drain(topics_place.topics_role(group=draw_name()))
    await assert_exactly_once(topics_place, events=written)


async def make_outbox_anew(place: Place) -> None:
    admin = AIOKafkaAdminClient(**place.kafka.client_options())
    await admin.start()
    outbox = place.topics.outbox

    async def is_there() -> bool:
        return outbox.name in await admin.list_topics()

    async def is_made() -> bool:
        await admin.create_topics([NewTopic(outbox.name, PARTITIONS, 1, topic_configs=outbox.config)])
        return await is_there()

    try:
        await admin.delete_topics([outbox.name])
        await eventually(is_there, lambda there: not there)
        await eventually(is_made, bool)
    finally:
        await admin.close()


async def test_partitions_that_share_a_public_one_are_told_apart(kafka: EmbeddedKafka, topic_prefix: str) -> None:
    connection, names = KafkaConnection(bootstrap_servers=kafka.bootstrap_servers), topics(topic_prefix)
    admin = AIOKafkaAdminClient(**connection.client_options())
    await admin.start()
    try:
        made = [
            NewTopic(topic.name, 4 if topic.internal else 2, 1, topic_configs=topic.config) for topic in names.all()
        ]
        await admin.create_topics(made)
    finally:
        await admin.close()
    place = Place(kafka=connection, prefix=topic_prefix, topics=names, settings=SETTINGS)
    async with OutboxLog(connection, names) as log:
        written = await write(log, 80)
        await drain(place.topics_role())
        for number in range(20):
            await log.answer(0, {Outbox.DEAD_LETTERS.value: lines([letter(number)])})
        await drain(place.topics_role())
        written = await write(log, 80, start=written)
        await drain(place.topics_role(group=draw_name()))

    assert ids(await consume(place, names.events.name, partitions=2)) == expected_ids(written)
    assert len(await consume(place, names.deadletter.name, partitions=2)) == 20
