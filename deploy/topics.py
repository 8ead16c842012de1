"""The topics in Kafka: made where they are missing, compared where they exist."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, NotControllerError, TopicAlreadyExistsError, for_code

from deploy.broker import KafkaUnreachableError, admin_client
from deploy.settings import TopicsSettings
from deploy.topic_setting import set_on_topics
from streams.contracts.clock import Clock, Deadline, SystemClock
from streams.contracts.errors import TodokeError
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import KAFKAS_DEFAULTS, Topic

logger = logging.getLogger(__name__)

BROKERS_CHOICE = -1
RETRY_PAUSE = 0.25
"""Seconds between two tries while Kafka starts or changes its controller."""


class TopicsDifferError(TodokeError):
    """Topics are missing, or are not made the way that the promises need."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TopicState:
    """One topic as it is found."""

    name: str
    partitions: int
    """0 where it is missing."""
    created: bool
    """It was made just now."""
    differences: tuple[str, ...]
    """Sentences on what is other than it should be."""
    lacks: Mapping[str, str]
    """Settings that it does not have since it was made by an earlier version, or for a shorter horizon."""


async def ensure_topics(
    connection: KafkaConnection,
    settings: TopicsSettings,
    *,
    create: bool,
    update: bool = False,
    patience: float = 10.0,
    clock: Clock | None = None,
) -> list[TopicState]:
    """Compare all topics with what the settings ask for, and make the missing ones if wanted.

    Existing topics are changed in nothing but what earlier versions did not set, if wanted, and an outbox that keeps
    less than the horizon, which is remembered by it: more partitions would send a message's events to another shard
    than its history, and what else differs may be meant so.

    Args:
        connection: where Kafka is.
        settings: what to ask for.
        create: make what is missing.
        update: give existing topics what they lack.
        patience: seconds to wait for a broker that does not answer yet.
        clock: for the patience.

    Raises:
        KafkaUnreachableError: no broker answered in time.
    """
    deadline = Deadline(patience, clock or SystemClock())
    created: frozenset[str] = frozenset()
    changed: frozenset[tuple[str, str]] = frozenset()
    while True:
        try:
            async with asyncio.timeout(max(1.0, deadline.remaining())), admin_client(connection) as client:
                created |= await _create_missing(client, settings) if create else frozenset()
                states = await _compare(client, settings, created)
                if update and not changed:
                    changed = await _update(client, states)
                # What was made or changed just now may take a moment until every broker knows all of it.
                fresh = (
                    (state.created and state.differences) or any((state.name, key) in changed for key in state.lacks)
                    for state in states
                )
                if not any(fresh) or not deadline.remaining():
                    return states
            await asyncio.sleep(RETRY_PAUSE)
        except TimeoutError as error:
            raise KafkaUnreachableError(connection, error) from error
        except KafkaUnreachableError:
            if not deadline.remaining():
                raise
            await asyncio.sleep(RETRY_PAUSE)


async def until_coordinated(connection: KafkaConnection, groups: Collection[str], *, patience: float) -> None:
    """Wait until Kafka has chosen who keeps the positions of consumer groups, which it does when first asked.

    Members that came before that would be told to come back, one after the other, and say so as an error.

    Raises:
        KafkaUnreachableError: it has not, in time.
    """
    deadline = Deadline(patience, SystemClock())
    for group in groups:
        while True:
            try:
                async with admin_client(connection) as client:
                    await client.find_coordinator(group)
                break
            except KafkaUnreachableError:
                if not deadline.remaining():
                    raise
                await asyncio.sleep(RETRY_PAUSE)


async def _create_missing(client: AIOKafkaAdminClient, settings: TopicsSettings) -> frozenset[str]:
    existing = set(await client.list_topics())
    missing = [topic for topic in settings.topics().all() if topic.name not in existing]
    if not missing:
        return frozenset()
    response: Any = await client.create_topics([_new(topic, settings) for topic in missing])
    created = set()
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        if error is NotControllerError:
            raise error
        if code == 0:
            created.add(name)
        elif error is not TopicAlreadyExistsError:
            raise TopicsDifferError(f"Kafka refuses to create {name}: {(message or [None])[0] or error.__name__}")
    return frozenset(created)


async def _update(client: AIOKafkaAdminClient, states: Sequence[TopicState]) -> frozenset[tuple[str, str]]:
    """Give topics what they lack; tell which topic took which key, since Kafka may refuse some."""
    lacking = defaultdict[tuple[str, str], list[str]](list)
    for state in states:
        for setting in state.lacks.items():
            lacking[setting].append(state.name)
    updated: set[tuple[str, str]] = set()
    for (key, value), topics in lacking.items():
        try:
            changed = await set_on_topics(client, topics, key, value)
        except IncompatibleBrokerVersion:
            break
        if changed:
            logger.info("set %s = %s on %s, which were made before", key, value, ", ".join(sorted(changed)))
        updated |= {(topic, key) for topic in changed}
    return frozenset(updated)


def _new(topic: Topic, settings: TopicsSettings) -> NewTopic:
    return NewTopic(
        topic.name,
        settings.shards,
        settings.replication_factor,
        # Without it the client refuses -1, which leaves the choice to the broker; with it, everything else.
        replica_assignments={} if settings.replication_factor == BROKERS_CHOICE else None,
        topic_configs=topic.config,
    )


async def _compare(client: AIOKafkaAdminClient, settings: TopicsSettings, created: frozenset[str]) -> list[TopicState]:
    wanted = settings.topics().all()
    partitions = {entry["topic"]: len(entry["partitions"]) for entry in await client.describe_topics()}
    found = [topic for topic in wanted if topic.name in partitions]
    configs = await _configs(client, found)
    return [
        TopicState(
            name=topic.name,
            partitions=partitions.get(topic.name, 0),
            created=topic.name in created,
            differences=tuple(
                _differences(topic, settings, partitions.get(topic.name, 0), configs.get(topic.name, {}))
            ),
            lacks=_lacks(topic, configs.get(topic.name, {}), is_memory=topic == settings.topics().outbox),
        )
        for topic in wanted
    ]


def _lacks(topic: Topic, config: Mapping[str, str], *, is_memory: bool) -> Mapping[str, str]:
    lacking = {key for key, default in KAFKAS_DEFAULTS.items() if key in topic.config and config.get(key) == default}
    if is_memory and 0 <= int(config.get("retention.ms", -1)) < int(topic.config["retention.ms"]):
        lacking.add("retention.ms")
    return {key: topic.config[key] for key in sorted(lacking)}


async def _configs(client: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    response: Any
    (response,) = await client.describe_configs(resources)
    return {
        name: {entry[0]: entry[1] for entry in entries} for _code, _message, _kind, name, entries in response.resources
    }


def _differences(topic: Topic, settings: TopicsSettings, partitions: int, config: dict[str, str]) -> list[str]:
    if not partitions:
        return ["is missing: run `todoke topics`"]
    found = []
    if partitions != settings.shards:
        found.append(
            f"has {partitions} partitions where topics.shards is {settings.shards}: set topics.shards to "
            f"{partitions}, or choose another topics.prefix and clickhouse.database for a new pipeline"
        )
    found += [
        f"has {key} = {config[key]} where {value} is wanted: change it with kafka-configs --alter"
        for key, value in topic.config.items()
        if key in config and config[key] != value
    ]
    return found
