"""Break a running sink's client of Kafka from within, as its own faults do."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer

from sinks.role import ClickHouseSinkRole, TopicsSinkRole


def consumer_of(role: ClickHouseSinkRole | TopicsSinkRole) -> AIOKafkaConsumer:
    return role._consumer._group.consumer


async def end_metadata(role: ClickHouseSinkRole | TopicsSinkRole) -> None:
    """End the task that keeps the metadata fresh, by the error that uvloop raises where a connection is closed."""

    async def fail(*_: object) -> bool:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    client = consumer_of(role)._client
    client._metadata_update = fail  # type: ignore[method-assign]
    client.force_metadata_update()
    await _ended(client._sync_task)


async def end_fetcher(role: ClickHouseSinkRole | TopicsSinkRole) -> None:
    """End the task that fetches records, by an error that it does not expect."""

    def fail(_: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    fetcher: Any = consumer_of(role)._fetcher
    fetcher._get_actions_per_node = fail
    await _ended(fetcher._fetch_task)


async def _ended(task: Any) -> None:
    await asyncio.wait({task})
