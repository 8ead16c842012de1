"""A transactional producer of aiokafka, and how to be rid of it in the middle of anything.

aiokafka has no way to give a transaction up without Kafka's answer: closing waits for whatever is not acknowledged yet,
however long the broker is away. Its private parts are touched here and nowhere else.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from itertools import chain

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.producer.message_accumulator import BatchBuilder

from sinks.publication import Publication
from sinks.settings import TopicsSinkSettings
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import OUTBOX_LIMIT

BATCH_BYTES = 900_000
"""Bytes of one batch: brokers refuse batches over 1 MB unless told otherwise. A longer record goes by itself."""

RETRY_BACKOFF_MS = 10
"""Kafka may refuse the first batch of a transaction while it verifies it; waiting the usual 100 ms would be most of the
transaction's time."""

CLOSE_TIMEOUT = 3.0
"""Seconds for saying goodbye to Kafka."""


async def start_producer(
    kafka: KafkaConnection, settings: TopicsSinkSettings, transactional_id: str
) -> AIOKafkaProducer:
    """Start a producer. From then on Kafka refuses what earlier ones of the same transactional id still send.

    Raises:
        KafkaError: it cannot be had.
    """
    compression = settings.compression
    producer = AIOKafkaProducer(
        **kafka.client_options(),
        transactional_id=transactional_id,
        transaction_timeout_ms=int(settings.transaction_timeout * 1000),
        compression_type=None if compression == "none" else compression,
        max_batch_size=BATCH_BYTES,
        max_request_size=OUTBOX_LIMIT,
        retry_backoff_ms=RETRY_BACKOFF_MS,
    )
    try:
        await producer.start()
    except BaseException:
        await abandon(producer)
        raise
    return producer


def fill(batch: BatchBuilder, publications: Iterable[Publication], timestamp: int) -> Publication | None:
    """Put records into an empty batch until it is full; give the one that found no room, which the next batch takes.

    The first record finds room whatever its size. The batch's own way in takes longer for its serializers, of which
    there are none, than for the record.

    Args:
        batch: made by the producer.
        publications: taken one after the other, the last one in vain if it is given back.
        timestamp: of all records, in milliseconds since 1970.
    """
    append = batch._builder.append  # noqa: SLF001 - see the module
    left = None
    number = 0
    for publication in publications:
        key, value, headers = publication
        if append(number, timestamp, key, value, headers) is None:
            left = publication
            break
        number += 1
    batch._relative_offset = number  # noqa: SLF001 - how many records it has
    batch.close()
    return left


async def abandon(producer: AIOKafkaProducer) -> None:
    """Close a producer, whatever it is in the middle of. Never raises; may take `CLOSE_TIMEOUT` seconds."""
    accumulator, transactions = producer._message_accumulator, producer._txn_manager  # noqa: SLF001 - see the module
    batches = [*chain.from_iterable(accumulator._batches.values()), *accumulator._pending_batches]  # noqa: SLF001
    accumulator.fail_all(ProducerClosed())
    with contextlib.suppress(KafkaError, TimeoutError):
        await asyncio.wait_for(producer.stop(), CLOSE_TIMEOUT)
    with contextlib.suppress(KafkaError):
        await producer.client.close()
    # Futures that nobody waits for any more would complain that nobody looked at them.
    for future in (transactions._transaction_waiter, *(batch._drain_waiter for batch in batches)):  # noqa: SLF001
        look_at(future)


def look_at(future: "asyncio.Future[object] | None") -> None:
    """Look at how a future ended, if it did."""
    if future is not None and future.done() and not future.cancelled():
        future.exception()
