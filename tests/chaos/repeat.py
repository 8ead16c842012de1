"""A record of an internal topic again: what a broker delivers twice, or a worker writes that is none any more."""

import random

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

PATIENCE_MS = 3_000


async def repeat(bootstrap_servers: str, topic: str, draw: random.Random) -> None:
    """Append a copy of one of the records of a topic, byte for byte, to the same partition.

    Raises:
        LookupError: Kafka does not answer, or has no such record.
    """
    options = {"bootstrap_servers": bootstrap_servers, "request_timeout_ms": PATIENCE_MS}
    consumer = AIOKafkaConsumer(**options)
    producer = AIOKafkaProducer(**options, acks="all", max_request_size=32 * 1024 * 1024)
    try:
        await consumer.start()
        partitions = [TopicPartition(topic, number) for number in await _partitions(producer, topic)]
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
        place = draw.choice([one for one in partitions if begins[one] < ends[one]] or [None])
        if place is None:
            raise LookupError(f"{topic} is empty")
        consumer.assign([place])
        consumer.seek(place, draw.randrange(begins[place], ends[place]))
        found = await consumer.getmany(place, timeout_ms=PATIENCE_MS, max_records=1)
        if not found:
            raise LookupError("Kafka does not answer")
        (record,) = found[place]
        await producer.send_and_wait(topic, record.value, partition=place.partition, headers=list(record.headers))
    except (KafkaError, OSError) as error:
        raise LookupError("Kafka does not answer") from error
    finally:
        await consumer.stop()
        await producer.stop()


async def _partitions(producer: AIOKafkaProducer, topic: str) -> list[int]:
    await producer.start()
    return sorted(await producer.partitions_for(topic))
