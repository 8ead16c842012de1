"""Reading a public topic as any consumer would, with nothing but aiokafka."""

from aiokafka import AIOKafkaConsumer


async def committed_records(bootstrap_servers: str, topic: str) -> list[tuple[bytes, bytes]]:
    """Read a topic from its beginning to its end, committed records only; give each one's key and value."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap_servers, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    found: list[tuple[bytes, bytes]] = []
    async with consumer:
        partitions = list(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [(record.key or b"", record.value or b"") for record in records]
    return found


async def latest_values(bootstrap_servers: str, topic: str) -> dict[bytes, bytes]:
    """Read a topic likewise; give the last value of each key."""
    return dict(await committed_records(bootstrap_servers, topic))
