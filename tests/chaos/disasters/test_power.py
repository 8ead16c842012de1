"""The machine loses its power, again and again: what was answered 200 is on the disk, and counts once.

`tests.chaos.mutations.test_guards` takes the writing through out, and sees the losses.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata

from deploy.embedded.kafka import EmbeddedKafka
from tests.chaos.campaign import Campaign, Form, Options
from tests.chaos.disasters.dying import lose_power
from tests.chaos.plan import EVERYTHING, Fault, Kind
from tests.chaos.power import disk_of_its_own
from tests.eventually import eventually
from tests.traffic.topics import committed_records


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("seed", "plan"),
    [
        (2, [Fault(at=6.0, kind=Kind.POWER, victim=EVERYTHING)]),
        (
            4,
            [
                Fault(at=4.0, kind=Kind.KILL, victim="kafka"),  # so that much is in the journal alone
                Fault(at=5.0, kind=Kind.POWER, victim=EVERYTHING),
                Fault(at=22.0, kind=Kind.POWER, victim=EVERYTHING),
                Fault(at=23.0, kind=Kind.POWER, victim=EVERYTHING),  # as soon as it is up again
            ],
        ),
    ],
    ids=["once", "again and again"],
)
async def test_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path, seed: int, plan: list[Fault]) -> None:
    options = Options(rounds=1, events=6_000, seconds=plan[-1].at + 4.0, form=Form.UP, plan=plan)

    outcome = await Campaign(tmp_path, seed, options).run()

    assert outcome.tally.faults[Kind.POWER] == sum(fault.kind is Kind.POWER for fault in plan), outcome.tally
    assert not outcome.found, outcome.found.examples


@pytest.mark.timeout(300)
async def test_kafka_comes_up_again_when_its_first_start_was_a_moment_ago(tmp_path: Path) -> None:
    async with disk_of_its_own(tmp_path / "disk", keep=lambda: False) as disk:
        broker = EmbeddedKafka(data=disk.folder / "kafka")
        await broker.start()
        await lose_power(broker.pid, broker.stop, disk)
        await broker.start()
        await broker.stop()


@pytest.mark.timeout(300)
async def test_a_transaction_that_ended_is_whole_afterwards_and_its_producer_goes_on(tmp_path: Path) -> None:
    async with disk_of_its_own(tmp_path / "disk", keep=lambda: False) as disk:
        broker = EmbeddedKafka(data=disk.folder / "kafka")
        await broker.start()
        async with _admin(broker) as admin:
            await admin.create_topics([NewTopic("read", 1, 1), NewTopic("published", 1, 1)])
        await _publish(broker, range(10))
        await _publish(broker, range(10, 20))  # a producer of a later epoch
        await lose_power(broker.pid, broker.stop, disk)
        await broker.start()

        async with _admin(broker) as admin:
            # Of the last one it may only be written that it ends; Kafka then goes on with that.
            await eventually(partial(admin.list_consumer_group_offsets, "sinks"), _is_at(20))
        await _publish(broker, range(20, 30))
        committed = await eventually(
            partial(committed_records, broker.bootstrap_servers, "published"),  # the end of the last one takes a moment
            lambda found: len(found) >= 30,
        )
        assert [value for _, value in committed] == [b"%d" % number for number in range(30)]
        await broker.stop()


async def _publish(broker: EmbeddedKafka, numbers: Iterable[int]) -> None:
    """Publish, each number in a transaction that moves the group's position behind it."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, transactional_id="sink") as producer:
        for number in numbers:
            async with producer.transaction():
                await producer.send_and_wait("published", b"%d" % number)
                await producer.send_offsets_to_transaction({TopicPartition("read", 0): number + 1}, "sinks")


def _is_at(offset: int) -> Callable[[Mapping[TopicPartition, OffsetAndMetadata]], bool]:
    return lambda positions: [position.offset for position in positions.values()] == [offset]


@contextlib.asynccontextmanager
async def _admin(broker: EmbeddedKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()
