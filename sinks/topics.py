"""Delivery to the public topics, exactly once: records and position in one Kafka transaction.

1. *Take over*: start a producer with the partition's own transactional id. Kafka takes back what a former owner left
   open and refuses whatever it still sends. Only then is the committed position read: it cannot change any more.
   Where Kafka has lost it, what was published tells it: `sinks.published`.
2. *Begin* a transaction for a block.
3. *Publish* its records, partition *n* of the outbox into partition *n* of each topic (modulo the number of its
   partitions), so that all of a message stay in one partition, in order.
4. *Wait* until Kafka has acknowledged every batch: ending a transaction does not tell of a batch that failed.
5. *Move*: put the position behind the block into the same transaction, with the chain in its metadata.
6. *Commit*. Consumers that read only what is committed see the block once.

A line that cannot be published goes to the dead letters' topic instead, in the same transaction: `sinks.sifting`.
Whatever else fails on the way, the producer is closed and the partition is taken over again, by this sink or another
one: step 1 takes back the rest of the transaction.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import chain

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import OffsetAndMetadata

from sinks import publication
from sinks.block import Block
from sinks.breaker import Limits, Tally
from sinks.destination import Destination
from sinks.errors import HandedOverError, UnreachableError
from sinks.group import OutboxGroup
from sinks.position import Bounds, Position
from sinks.producer import abandon, fill, look_at, start_producer
from sinks.publication import Publication
from sinks.published import Published
from sinks.settings import TopicsSinkSettings
from sinks.sifting import UNPUBLISHABLE, Channel, sift
from streams.contracts.clock import Clock, SystemClock
from streams.contracts.kafka import KafkaConnection
from streams.contracts.sections import Outbox
from streams.contracts.topics import Topics

logger = logging.getLogger(__name__)


class TransactionDelivery:
    """A `sinks.delivery.Delivery` to the public topics."""

    def __init__(
        self,
        *,
        group: OutboxGroup,
        kafka: KafkaConnection,
        topics: Topics,
        settings: TopicsSinkSettings,
        put_aside: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        """Prepare the delivery.

        Args:
            group: the sink's; it tells positions.
            kafka: where the topics are.
            topics: their names.
            settings: see the model.
            put_aside: is called for each line that cannot be published.
            clock: the system's unless a test brings its own.
        """
        self._group = group
        self._kafka = kafka
        self._settings = settings
        self._clock = clock or SystemClock()
        self._producers: dict[int, AIOKafkaProducer] = {}
        self._topics = topics
        self._published = Published(kafka, topics.inbox.name, settings)
        self._limits = Limits(run=settings.dead_letter_run, ratio=settings.dead_letter_ratio)
        self._put_aside = put_aside
        self._tallies: dict[int, Tally] = {}
        self._history = Destination()
        self._channels = (
            Channel(topics.events.name, Outbox.EVENTS, publication.events),
            Channel(topics.lifecycles.name, Outbox.LIFECYCLES, publication.lifecycles),
            Channel(topics.suppressions.name, Outbox.SUPPRESSIONS, publication.suppressions),
            Channel(topics.deadletter.name, Outbox.DEAD_LETTERS, publication.dead_letters),
        )

    @property
    def is_waiting(self) -> bool:
        """Tell whether what was published is being read, which ends by itself where Kafka does not answer."""
        return self._history.is_waited_for

    async def open(self, partition: int) -> Position | None:
        """Shut the former owner out, then read the position."""
        # 1. Take over
        await self.release([partition])
        try:
            producer = await start_producer(self._kafka, self._settings, f"{self._group.name}.{partition}")
        except KafkaError as error:
            raise UnreachableError(f"no transactions for partition {partition}: {error!r}") from error
        self._producers[partition] = producer
        try:
            position = (await self._group.committed([partition])).get(partition) or await self._recognise(partition)
        except BaseException:
            await self.release([partition])
            raise
        self._tallies[partition] = Tally(*position.refusals) if position else Tally()
        return position

    async def report(self, partition: int, hole: Bounds) -> None:
        """Nothing is published of a hole; the log and the metrics tell of it."""

    async def deliver(self, blocks: Sequence[Block]) -> None:
        """Publish each block in a transaction of its own, all at the same time."""
        results = await asyncio.gather(*(self._publish(block) for block in blocks), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def settle(self) -> None:
        """Nothing is left to remember: the position was committed with the records."""

    async def release(self, partitions: Collection[int]) -> None:
        """Close the producers; an open transaction is taken back when somebody takes the partition over."""
        self._history.forget()
        producers = [self._producers.pop(partition, None) for partition in partitions]
        await asyncio.gather(*(abandon(producer) for producer in producers if producer is not None))

    async def _recognise(self, partition: int) -> Position | None:
        """Find a position that is lost, and commit it; ``None`` where nothing that the outbox holds was published."""
        producer = self._producers[partition]
        try:
            events, letters = [
                TopicPartition(topic.name, await _target(producer, topic.name, partition))
                for topic in (self._topics.events, self._topics.deadletter)
            ]
            place = TopicPartition(self._group.topic, partition)
            with self._history.asked():
                is_published, position = await self._published.position(place, events, letters)
            if position is not None:
                logger.warning(
                    "Partition %d: its position is lost; what was published up to stamp %s is recognised",
                    partition,
                    position.stamp,
                )
                await producer.begin_transaction()
                await self._move(producer, partition, position)
                await producer.commit_transaction()
            elif is_published:
                logger.warning(
                    "Partition %d: there is no position, and nothing that was published is in the outbox; it is"
                    " published from its beginning",
                    partition,
                )
        except KafkaError as error:
            raise UnreachableError(f"the position of partition {partition} is not found: {error!r}") from error
        return position

    async def _move(self, producer: AIOKafkaProducer, partition: int, position: Position) -> None:
        """Put a position into the transaction."""
        place = TopicPartition(self._group.topic, partition)
        await producer.send_offsets_to_transaction(
            {place: OffsetAndMetadata(position.offset, position.metadata())}, self._group.name
        )

    async def _publish(self, block: Block) -> None:
        producer = self._producers.get(block.partition)
        if producer is None:
            raise HandedOverError(f"partition {block.partition} was let go")
        tally = replace(self._tallies[block.partition])
        try:
            try:
                await self._fill(producer, block, self._plain(block))
                tally.took(block.events)
            except UNPUBLISHABLE as error:
                await producer.abort_transaction()
                sifted = self._sifted(block, tally)
                logger.warning("Partition %d: a block was published line by line: %r", block.partition, error)
                await self._fill(producer, block, sifted)
            # 5. Move
            after = replace(block.after, refusals=(tally.run, tally.rows, tally.refused))
            await self._move(producer, block.partition, after)
            # 6. Commit
            await producer.commit_transaction()
            self._tallies[block.partition] = tally
        except ProducerFenced as error:
            raise HandedOverError(f"another sink publishes partition {block.partition}") from error
        except (
            KafkaError,
            IllegalOperation,
            AssertionError,
        ) as error:  # the last: it failed while it had nothing to do
            raise HandedOverError(f"a transaction of partition {block.partition} failed: {error!r}") from error

    async def _fill(
        self, producer: AIOKafkaProducer, block: Block, contents: Iterable[tuple[str, Iterable[Publication]]]
    ) -> None:
        """Begin a transaction and get everything acknowledged in it."""
        # 2. Begin
        await producer.begin_transaction()
        # 3. Publish
        sent = []
        for topic, publications in contents:
            target = await _target(producer, topic, block.partition)
            for batch in self._batches(producer, publications):
                future = await producer.send_batch(batch, topic, partition=target)
                future.add_done_callback(look_at)
                sent.append(future)
                await asyncio.sleep(0)  # let the batch leave while the next one is made
        # 4. Wait
        await asyncio.gather(*sent)

    def _plain(self, block: Block) -> Iterator[tuple[str, Iterable[Publication]]]:
        for channel in self._channels:
            yield channel.topic, chain.from_iterable(map(channel.publications, block.records))

    def _sifted(self, block: Block, tally: Tally) -> Iterable[tuple[str, Iterable[Publication]]]:
        names = self._topics
        return sift(
            block,
            self._channels,
            tally,
            self._limits,
            put_aside=self._put_aside,
            dead_letters=names.deadletter.name,
            inbox=names.inbox.name,
            version=version("todoke"),
        ).items()

    def _batches(self, producer: AIOKafkaProducer, publications: Iterable[Publication]) -> Iterator[BatchBuilder]:
        """Make batches of what goes to one topic."""
        now = int(self._clock.now().timestamp() * 1000)
        coming = iter(publications)
        first = next(coming, None)
        while first is not None:
            batch = producer.create_batch()
            first = fill(batch, chain((first,), coming), now)
            yield batch


async def _target(producer: AIOKafkaProducer, topic: str, partition: int) -> int:
    """Tell the partition of a topic into which an outbox partition is published."""
    return partition % len(await producer.partitions_for(topic))
