"""Short visits to Kafka: clients that are closed whatever happens, and one sentence when nobody answers."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.contracts.errors import ConfigurationError, TodokeError
from streams.contracts.kafka import KafkaConnection


class KafkaUnreachableError(TodokeError):
    """No broker answers, or none that lets us in."""

    retriable = True

    def __init__(self, connection: KafkaConnection, cause: BaseException) -> None:
        super().__init__(
            f"Kafka at {connection.bootstrap_servers} does not answer ({str(cause) or type(cause).__name__}): check "
            "kafka.bootstrap_servers and whether the broker runs"
        )


@asynccontextmanager
async def admin_client(connection: KafkaConnection) -> AsyncIterator[AIOKafkaAdminClient]:
    """Connect for administration.

    Raises:
        KafkaUnreachableError: nobody answers, now or within the block.
    """
    client = AIOKafkaAdminClient(**connection.client_options(), client_id="todoke-admin", request_timeout_ms=10_000)
    try:
        await client.start()
        yield client
    except (KafkaError, OSError) as error:
        raise KafkaUnreachableError(connection, error) from error
    finally:
        await client.close()


@asynccontextmanager
async def reader(connection: KafkaConnection, *topics: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Connect for reading outside of any group.

    Raises:
        ConfigurationError: there is no such topic.
        KafkaUnreachableError: nobody answers, now or within the block.
    """
    if topics:
        await _require(connection, topics)
    consumer = AIOKafkaConsumer(*topics, **connection.client_options(), enable_auto_commit=False, **options)
    try:
        await consumer.start()
        yield consumer
    except (KafkaError, OSError) as error:
        raise KafkaUnreachableError(connection, error) from error
    finally:
        await consumer.stop()


async def _require(connection: KafkaConnection, topics: Collection[str]) -> None:
    """Look for topics first: asked for one that is not there, a consumer waits for it, 40 seconds."""
    async with admin_client(connection) as admin:
        absent = sorted(set(topics) - set(await admin.list_topics()))
    if absent:
        raise ConfigurationError(f"Kafka has no topic {' and no '.join(absent)}: run `todoke topics`")
