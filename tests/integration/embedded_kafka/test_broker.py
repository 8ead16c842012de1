"""The broker's promises: what it acknowledged stays, whatever ends it; and it comes back where it was."""

import asyncio
import os
from functools import partial
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.embedded.errors import ServerFailedError
from deploy.embedded.kafka import EmbeddedKafka
from streams.contracts.topics import OUTBOX_LIMIT
from tests.eventually import eventually

MARGIN = 1024  # bytes of a batch around a record's value


async def create_topic(broker: EmbeddedKafka, name: str, *, partitions: int = 1, **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        settings = {key.replace("_", "."): value for key, value in config.items()}
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
    finally:
        await admin.close()


async def read_all(broker: EmbeddedKafka, topic: str, *, committed: bool = False) -> list[bytes]:
    """Read one partition from its beginning to its end."""
    async with AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers,
        isolation_level="read_committed" if committed else "read_uncommitted",
        max_partition_fetch_bytes=2 * OUTBOX_LIMIT,
    ) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes] = []
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                values += [record.value for record in records]
        return values


async def test_starts_stops_and_comes_back_with_its_records_on_its_port(tmp_path: Path) -> None:
    broker = EmbeddedKafka(data=tmp_path / "kafka")
    await broker.start()
    assert broker.pid is not None
    assert psutil.Process(broker.pid).memory_info().rss < 500_000_000
    address = broker.bootstrap_servers
    await create_topic(broker, "kept")
    async with AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
        await producer.send_and_wait("kept", b"one")

    await broker.restart()
    assert broker.bootstrap_servers == address
    assert await read_all(broker, "kept") == [b"one"]

    await broker.stop()
    await broker.stop()
    assert broker.pid is None
    assert await broker.wait() == 128 + 15  # Java's own exit code after SIGTERM

    # Another object on the same folder finds the port as well.
    async with EmbeddedKafka(data=tmp_path / "kafka") as again:
        assert again.bootstrap_servers == address
        assert await read_all(again, "kept") == [b"one"]


async def test_a_kill_loses_and_doubles_nothing_that_an_idempotent_producer_sends(tmp_path: Path) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka") as broker:
        await create_topic(broker, "chunks")
        acknowledged: list[int] = []
        enough = asyncio.Event()

        async def send_all(producer: AIOKafkaProducer) -> None:
            for number in range(1_500):
                await producer.send_and_wait("chunks", b"%d" % number)
                acknowledged.append(number)
                if number == 500:
                    enough.set()

        async with AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap_servers, enable_idempotence=True, linger_ms=0, request_timeout_ms=60_000
        ) as producer:
            sending = asyncio.create_task(send_all(producer))
            await enough.wait()
            broker.kill()
            assert await broker.wait() == -9
            at_the_kill = len(acknowledged)
            await broker.start()
            assert (await read_all(broker, "chunks"))[:at_the_kill] == [b"%d" % number for number in range(at_the_kill)]
            await sending
        assert await read_all(broker, "chunks") == [b"%d" % number for number in range(1_500)]


async def test_a_transaction_that_was_to_end_when_the_broker_died_ends(tmp_path: Path) -> None:
    """Its end was decided and told to the client, and written to none of its partitions.

    Kafka 4.3 on its own takes the partitions for deleted that have no leader while it starts, and leaves them as they
    are: the position was not moved, and the next transaction committed what this one had written (KAFKA-20734). As it
    may also come to itself in time, its log is looked at.
    """
    async with EmbeddedKafka(data=tmp_path / "kafka") as broker:
        await create_topic(broker, "public")
        options = {"bootstrap_servers": broker.bootstrap_servers, "transactional_id": "sink-0"}
        partition = TopicPartition("read", 0)
        await create_topic(broker, "read")
        async with AIOKafkaProducer(**options) as producer:
            for number in (1, 2):
                async with producer.transaction():
                    await producer.send_and_wait("public", b"%d" % number)
                    await producer.send_offsets_to_transaction({partition: number}, "sink")
        await eventually(partial(read_all, broker, "public", committed=True), lambda found: len(found) == 2)
        await eventually(partial(position_of, broker, "sink", partition), lambda found: found == 2)
        broker.kill()
        await broker.wait()
        for log in (tmp_path / "kafka" / "topics").glob("*/00000000000000000000.log"):
            if log.parent.name.startswith(("__transaction_state", "public", "__consumer_offsets")):
                take_last_end(log)
        await broker.start()

        assert await eventually(partial(read_all, broker, "public", committed=True), lambda found: len(found) == 2) == [
            b"1",
            b"2",
        ]
        await eventually(partial(position_of, broker, "sink", partition), lambda found: found == 2)
        assert b"these partitions are likely deleted" not in (tmp_path / "kafka" / "broker.log").read_bytes()


async def test_no_broker_begins_where_the_controller_was_killed_before_it_ended_the_former_session(
    tmp_path: Path,
) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka") as broker:
        broker.kill()
        await broker.wait()
        starting = asyncio.create_task(broker.start())
        controller = await controller_of(broker)
        controller.kill()

        with pytest.raises(ServerFailedError, match="has to end the session of that broker first, ended with exit"):
            await starting

        await broker.start()
        said = (tmp_path / "kafka" / "controller.log").read_text("utf-8")
        assert "Fencing broker 1" in said  # else it may be that Kafka's words are not understood any more


async def test_no_broker_begins_where_the_controller_has_had_no_time(tmp_path: Path) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka") as broker:
        broker.kill()
        await broker.wait()
    again = EmbeddedKafka(data=tmp_path / "kafka", start_within=3)
    starting = asyncio.create_task(again.start())
    (await controller_of(again)).suspend()

    with pytest.raises(ServerFailedError, match="has to end the session of that broker first, did not within 3 s"):
        await starting
    assert again.pid is None


async def controller_of(broker: EmbeddedKafka) -> psutil.Process:
    """Give the controller that runs before a broker that is being started."""

    async def is_there() -> bool:
        return broker.pid is not None

    await eventually(is_there)
    process = psutil.Process(broker.pid)
    assert "controller.properties" in process.cmdline()[-1]
    return process


async def position_of(broker: EmbeddedKafka, group: str, partition: TopicPartition) -> int | None:
    """Tell what a group has committed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group, partitions=[partition])
    finally:
        await admin.close()
    return found[partition].offset if partition in found else None


def take_last_end(log: Path) -> None:
    """Take the end of the last transaction out of a log: its marker, or its coordinator's note of it.

    The coordinator notes it once all markers are written; a broker killed before that has nothing to be taken out.
    """
    content = log.read_bytes()
    begins, at = [], 0
    while at < len(content):
        begins.append(at)
        at += 12 + int.from_bytes(content[at + 8 : at + 12])
    if log.parent.name.startswith("__transaction_state"):  # where only the note of the end names no partitions
        ends = [begin for begin in begins[-1:] if b"public" not in content[begin:]]
    else:
        ends = [begin for begin in begins if content[begin + 22] & 0x20]  # the bit of a control batch
    if ends:
        log.write_bytes(content[: ends[-1]])


async def test_transactions_show_what_was_committed_and_that_once(tmp_path: Path) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka") as broker:
        await create_topic(broker, "public")
        options = {"bootstrap_servers": broker.bootstrap_servers, "transactional_id": "sink-0", "retry_backoff_ms": 20}
        owner = AIOKafkaProducer(**options)
        await owner.start()
        async with owner.transaction():
            await owner.send_and_wait("public", b"committed")
        await owner.begin_transaction()
        await owner.send_and_wait("public", b"aborted")
        await owner.abort_transaction()
        await owner.begin_transaction()
        await owner.send_and_wait("public", b"open when the broker died")
        broker.kill()
        await broker.wait()
        await broker.start()

        # The next owner of the id ends what the former one left open.
        async with AIOKafkaProducer(**options) as successor, asyncio.timeout(30):
            async with successor.transaction():
                await successor.send_and_wait("public", b"committed by the successor")
            assert await read_all(broker, "public", committed=True) == [b"committed", b"committed by the successor"]
            assert len(await read_all(broker, "public")) == 4
        await owner.stop()


async def test_a_group_finds_its_offset_and_its_note_after_a_kill(tmp_path: Path) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka") as broker:
        await create_topic(broker, "work")
        partition = TopicPartition("work", 0)
        async with AIOKafkaConsumer(
            bootstrap_servers=broker.bootstrap_servers, group_id="sink", enable_auto_commit=False
        ) as consumer:
            consumer.assign([partition])
            await consumer.commit({partition: (7, "an intent")})
        broker.kill()
        await broker.wait()
        await broker.start()
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        await admin.start()
        # A coordinator that still loads its groups tells of no partition at all: not even that it has no offset.
        offsets = await eventually(
            partial(admin.list_consumer_group_offsets, "sink", partitions=[partition]), lambda found: partition in found
        )
        await admin.close()
        assert (offsets[partition].offset, offsets[partition].metadata) == (7, "an intent")


async def test_takes_the_largest_record_of_the_pipeline(kafka: EmbeddedKafka, topic_prefix: str) -> None:
    value = os.urandom(OUTBOX_LIMIT - MARGIN)
    topic = f"{topic_prefix}outbox"
    await create_topic(kafka, topic, max_message_bytes=str(OUTBOX_LIMIT))
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, max_request_size=OUTBOX_LIMIT, acks="all"
    ) as producer:
        for _ in range(3):
            await producer.send_and_wait(topic, value)
    assert await read_all(kafka, topic) == [value] * 3


async def test_a_broker_that_cannot_run_shows_the_end_of_its_log(tmp_path: Path) -> None:
    broker = EmbeddedKafka(data=tmp_path / "kafka")
    async with broker:
        pass
    (tmp_path / "kafka" / "topics" / "meta.properties").write_text("damaged=yes\n")
    with pytest.raises(ServerFailedError, match=r"(?s)exit code 1.*last lines of its log.*node ID not found") as raised:
        await broker.start()
    assert "shut down completely" not in str(raised.value), "of the run before"
    assert broker.pid is None


async def test_a_broker_that_does_not_answer_in_time_is_ended(tmp_path: Path) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka"):
        pass
    hurried = EmbeddedKafka(data=tmp_path / "kafka", start_within=0.01)
    with pytest.raises(ServerFailedError, match="start again with more time"):
        await hurried.start()
    assert hurried.pid is None
