"""Membership in the consumer group that reads the outbox: which partitions, from where, and how far the group is."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from sinks.errors import HandedOverError, UnreachableError
from sinks.position import Position
from sinks.settings import ReadingSettings
from streams.contracts.errors import ConfigurationError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import OUTBOX_LIMIT, Topic

logger = logging.getLogger(__name__)

POLL_LIMIT_MS = 24 * 3600 * 1000
"""A sink whose destination is away reads nothing meanwhile and must not leave the group for that; whether it is alive
is told by its heartbeats."""

ANSWER_LIMIT = 40.0
"""Seconds that Kafka has for an answer before it is asked again."""

LEAVE_LIMIT = 20.0
"""Seconds for leaving the group. aiokafka waits on the way for whatever its client is in the middle of."""

SETTLED = ("Stable", "Empty", "Dead")
"""States of a group that is not being shared out, in Kafka's words; the last one is that of an unknown group."""


class OutboxGroup:
    """One member of the group. Nothing is committed that the caller does not ask for."""

    def __init__(
        self,
        *,
        kafka: KafkaConnection,
        topic: Topic,
        group: str,
        settings: ReadingSettings,
        answer_limit: float = ANSWER_LIMIT,
    ) -> None:
        self.name = group
        self.topic = topic.name
        self._topic = topic
        self._kafka = kafka
        self._settings = settings
        self._answer_limit = answer_limit
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    def another(self, answer_limit: float) -> Self:
        """Make one that looks at the same group and shares nothing with this one; it is not connected yet.

        Args:
            answer_limit: seconds that Kafka has for an answer to it.
        """
        return type(self)(
            kafka=self._kafka,
            topic=self._topic,
            group=self.name,
            settings=self._settings,
            answer_limit=answer_limit,
        )

    async def connect(self) -> None:
        """Connect, without being a member yet.

        Raises:
            UnreachableError: Kafka does not answer.
            ConfigurationError: the outbox does not exist.
        """
        options = {**self._kafka.client_options(), "request_timeout_ms": int(self._answer_limit * 1000)}
        session_ms = int(self._settings.session_timeout * 1000)
        self._admin = AIOKafkaAdminClient(**options)
        self._consumer = AIOKafkaConsumer(
            **options,
            group_id=self.name,
            group_instance_id=self._settings.instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # a position that the log does not hold any more shows as a jump
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 4,
            rebalance_timeout_ms=session_ms + int(self._settings.handover * 1000),
            max_poll_interval_ms=POLL_LIMIT_MS,
            max_partition_fetch_bytes=self._settings.fetch_bytes,
            fetch_max_bytes=max(OUTBOX_LIMIT, 4 * self._settings.fetch_bytes),
            metadata_max_age_ms=60_000,
        )
        try:
            await self._admin.start()
            await self._consumer.start()
            known = await self._admin.list_topics()
        except KafkaError as error:
            raise UnreachableError(
                f"Kafka does not answer at {self._kafka.bootstrap_servers}: start it or set kafka.bootstrap_servers"
            ) from error
        if self.topic not in known:
            raise ConfigurationError(f"the topic {self.topic} does not exist: make it with `todoke topics`")

    def join(self, revoked: Callable[[], Awaitable[None]], assigned: Callable[[Collection[int]], None]) -> None:
        """Ask for partitions.

        Args:
            revoked: called before any partition goes to another member, while commits still count.
            assigned: called with the partitions that this member has from now on.
        """
        self.consumer.subscribe([self.topic], listener=_Listener(revoked, assigned))

    async def leave(self, within: float = LEAVE_LIMIT) -> None:
        """Leave the group and disconnect. May be called twice, and when `join` failed.

        Args:
            within: seconds for doing so in order, which takes until a rebalance under way is over.
        """
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        if consumer is not None:
            _forget_death(consumer._client)  # noqa: SLF001 - nothing public survives it
            try:
                async with asyncio.timeout(within):
                    await consumer.stop()
            except TimeoutError:
                logger.warning("The group %s is left without a word: the client does not end by itself", self.name)
                await _break_off(consumer)
            except KafkaError:  # what a task of its own had died of
                await _break_off(consumer)
            except asyncio.CancelledError:
                if _is_meant():
                    raise
                await _break_off(consumer)
        if admin is not None:
            _forget_death(admin._client)  # noqa: SLF001
            with contextlib.suppress(KafkaError):
                await admin.close()

    async def poll(self, partitions: Iterable[int], wait: float) -> Mapping[int, list[ConsumerRecord[bytes, bytes]]]:
        """Wait for records at most some seconds.

        Args:
            partitions: those that are read from; what is fetched of others is not touched.
            wait: seconds.
        """
        wanted = [TopicPartition(self.topic, partition) for partition in partitions]
        if not wanted:
            await asyncio.sleep(wait)
            return {}
        records = await self.consumer.getmany(*wanted, timeout_ms=int(wait * 1000))
        return {place.partition: batch for place, batch in records.items()}

    def seek(self, partition: int, offset: int) -> None:
        """Go on reading a partition of this member at an offset.

        Raises:
            HandedOverError: it is not this member's.
        """
        try:
            self.consumer.seek(TopicPartition(self.topic, partition), offset)
        except IllegalStateError as error:
            raise HandedOverError(f"partition {partition} went to another member") from error

    def end(self, partition: int) -> int | None:
        """Tell the end of the log as of the last fetch."""
        place = TopicPartition(self.topic, partition)
        with contextlib.suppress(IllegalStateError):
            end: int | None = self.consumer.highwater(place)
            return end
        return None

    @property
    def member(self) -> str:
        """The id that the group's coordinator has given to this member, empty while it has none."""
        coordinator: GroupCoordinator | None = self.consumer._coordinator  # noqa: SLF001 - nothing public tells it
        return "" if coordinator is None else str(coordinator.member_id)

    def read(self, partitions: Iterable[int]) -> Mapping[int, int]:
        """Tell up to where partitions of this member are read, without asking anybody."""
        subscription: Any = self.consumer._subscription.subscription  # noqa: SLF001 - what is public may wait for ever
        if subscription is None or subscription.assignment is None:
            return {}
        assignment = subscription.assignment
        places = {partition: TopicPartition(self.topic, partition) for partition in partitions}
        states = {number: assignment.state_value(place) for number, place in places.items() if place in assignment.tps}
        return {number: state.position for number, state in states.items() if state.has_valid_position}

    async def members(self) -> Mapping[str, Collection[int]] | None:
        """Tell the partitions of each member of the group, by its id; ``None`` while they are being shared out.

        Raises:
            UnreachableError: Kafka does not answer.
        """
        try:
            [answer] = await self.admin.describe_consumer_groups([self.name])
        except KafkaError as error:
            raise UnreachableError(f"the members of group {self.name} are not told: {error!r}") from error
        [(code, _, state, _, _, members, *_)] = answer.groups  # type: ignore[attr-defined]  # by its version's schema
        if code:
            raise UnreachableError(f"the coordinator of group {self.name} does not know its members: error {code}")
        if state not in SETTLED:
            return None
        return {name: self._share(assignment) for name, _, _, _, assignment in members}

    def _share(self, assignment: bytes) -> Collection[int]:
        if not assignment:
            return ()
        places = ConsumerProtocol.ASSIGNMENT.decode(assignment).partitions()
        return [place.partition for place in places if place.topic == self.topic]

    async def committed(self, partitions: Iterable[int]) -> Mapping[int, Position]:
        """Read positions as the group has committed them, with their metadata, from the group's coordinator.

        Raises:
            UnreachableError: Kafka does not answer.
        """
        wanted = [TopicPartition(self.topic, partition) for partition in partitions]
        try:
            found = await self.admin.list_consumer_group_offsets(self.name, partitions=wanted)
        except KafkaError as error:
            raise UnreachableError(f"the positions of group {self.name} cannot be read: {error!r}") from error
        if not found.keys() >= set(wanted):
            # aiokafka overlooks the error of the answer as a whole, with which a coordinator that is still loading says
            # nothing of any partition; one that knows says -1 where nothing was committed.
            raise UnreachableError(f"the coordinator of group {self.name} does not know its positions yet")
        return {
            place.partition: Position.of(entry.offset, entry.metadata)
            for place, entry in found.items()
            if entry.offset >= 0
        }

    async def commit(self, positions: Mapping[int, Position]) -> None:
        """Commit positions of this member's partitions, all in one request; tries again while Kafka does not answer.

        Raises:
            HandedOverError: this member does not have them, or not any more.
        """
        if positions:
            self._membership()
            await self._commit(self.consumer.commit(self._offsets_of(positions)))

    async def commit_for_others(self, positions: Mapping[int, Position]) -> None:
        """Commit positions of partitions whoever has them: their members must have let go of them and read nothing.

        Raises:
            HandedOverError: this member is not in the group, or the group is being shared out anew.
        """
        # aiokafka refuses on its own what Kafka would take from any member.
        await self._commit(self._membership().commit_offsets(None, self._offsets_of(positions)))

    def _membership(self) -> GroupCoordinator:
        coordinator: GroupCoordinator | None = self.consumer._coordinator  # noqa: SLF001 - nothing public tells the generation
        if coordinator is None or coordinator.generation <= 0:
            # Out of the group, a commit would count as one by hand wherever the group has no members at the moment.
            raise HandedOverError("this sink is not in its group at the moment")
        return coordinator

    def _offsets_of(self, positions: Mapping[int, Position]) -> dict[TopicPartition, OffsetAndMetadata]:
        return {
            TopicPartition(self.topic, partition): OffsetAndMetadata(position.offset, position.metadata())
            for partition, position in positions.items()
        }

    async def _commit(self, request: Awaitable[None]) -> None:
        try:
            await request
        except (CommitFailedError, IllegalStateError) as error:
            raise HandedOverError("the group has given the partitions to others") from error
        except KafkaError as error:
            raise HandedOverError(f"the position cannot be committed: {error!r}") from error

    async def ends(self) -> Mapping[int, int]:
        """Tell where the log of every partition ends now, of other members' partitions too.

        Raises:
            UnreachableError: Kafka does not answer.
        """
        return await self._offsets(self.consumer.end_offsets)

    async def begins(self) -> Mapping[int, int]:
        """Tell the first offset that the log of every partition still holds.

        Raises:
            UnreachableError: Kafka does not answer.
        """
        return await self._offsets(self.consumer.beginning_offsets)

    async def _offsets(
        self, ask: Callable[[Collection[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]
    ) -> Mapping[int, int]:
        try:
            [described] = await self.admin.describe_topics([self.topic])
            places = [TopicPartition(self.topic, found["partition"]) for found in described["partitions"]]
            offsets = await ask(places)
        except KafkaError as error:
            raise UnreachableError(f"the extent of {self.topic} cannot be read: {error!r}") from error
        return {place.partition: offset for place, offset in offsets.items()}

    @property
    def consumer(self) -> AIOKafkaConsumer:
        """The connected consumer."""
        if self._consumer is None:
            raise HandedOverError("this sink has left its group")
        return self._consumer

    @property
    def admin(self) -> AIOKafkaAdminClient:
        """The connected admin client."""
        if self._admin is None:
            raise HandedOverError("this sink has left its group")
        return self._admin


def _forget_death(client: AIOKafkaClient) -> None:
    """Have a client close although its own task has died: it would raise once more what that died of."""
    task = client._sync_task  # noqa: SLF001
    if task is not None and task.done():
        client._sync_task = None  # noqa: SLF001
        if not task.cancelled():
            task.exception()


async def _break_off(consumer: AIOKafkaConsumer) -> None:
    """End what is left of a consumer that did not stop by itself."""
    coordinator, fetcher = consumer._coordinator, consumer._fetcher  # noqa: SLF001
    rest = [consumer._client.close()]  # noqa: SLF001
    if fetcher is not None:
        rest.insert(0, fetcher.close())
    if coordinator is not None:
        rest.insert(0, coordinator._stop_heartbeat_task())  # noqa: SLF001
    for step in rest:
        try:
            with contextlib.suppress(Exception):  # whatever it had died of
                await step
        except asyncio.CancelledError:
            if _is_meant():
                raise


def _is_meant() -> bool:
    """Tell whether this task was cancelled. A client that ends hands on that it cancelled one of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Listener(ConsumerRebalanceListener):
    def __init__(self, revoked: Callable[[], Awaitable[None]], assigned: Callable[[Collection[int]], None]) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        if revoked:
            await self._revoked()

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._assigned([place.partition for place in assigned])
