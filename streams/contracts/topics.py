"""The topics: names, and how each must be configured for the promises to hold."""

from dataclasses import dataclass

DAY_MS = 86_400_000
CHUNK_LIMIT = 900_000
"""Bytes that one inbox record may hold: Kafka refuses records over 1 MB unless told otherwise."""

OUTBOX_LIMIT = 16 * 1024 * 1024
"""Bytes that one outbox record may hold: the events of a chunk and the lifecycles that they touched."""

BROKERS_TIME = {"message.timestamp.type": "LogAppendTime"}
"""Whoever writes may have a clock that is wrong. By its time Kafka would delete what is new, refuse what seems to come
from the future, and have a worker begin behind what it must know; by the broker's own none of that can happen."""

EACH_CHANGE_KEPT = {"min.compaction.lag.ms": "3600000"}
"""A subscriber that is less than an hour behind sees every change on a compacted topic, not the last one alone; and
Kafka does not spend a fifth of its processor time on cleaning up while a flood lasts."""

KAFKAS_DEFAULTS = {"message.timestamp.type": "CreateTime", "min.compaction.lag.ms": "0"}
"""What a topic has of these settings where an earlier version made it, which did not set them. Whoever changed one of
them since meant it so, and keeps it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """One topic and the configuration that it is created with."""

    name: str
    """The whole name, prefix included."""

    config: dict[str, str]
    """Kafka's topic-level settings."""

    internal: bool
    """Its form may change in any release; only todoke reads it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Topics:
    """All topics of one pipeline, by the part that they play."""

    inbox: Topic
    """Chunks of normalised events, one partition per shard."""

    outbox: Topic
    """One record per inbox record, in the same partition: the pipeline's truth and the workers' changelog."""

    events: Topic
    """Public: one record per unique event, keyed by message id."""

    lifecycles: Topic
    """Public: the current lifecycle of a message and recipient, compacted."""

    suppressions: Topic
    """Public: who must not be mailed, compacted."""

    deadletter: Topic
    """Public: what could not be read, raw."""

    def all(self) -> tuple[Topic, ...]:
        """List every topic, inputs first."""
        return (self.inbox, self.outbox, self.events, self.lifecycles, self.suppressions, self.deadletter)


def topics(prefix: str = "mail.", *, horizon_days: int = 7) -> Topics:
    """Describe the topics of one pipeline.

    Args:
        prefix: what every name starts with.
        horizon_days: how long a resend is still recognised; the outbox, from which workers load their state, is kept a
            day longer than that.
    """
    kept = {"cleanup.policy": "delete", **BROKERS_TIME}
    compacted = {
        "cleanup.policy": "compact",
        "max.message.bytes": str(OUTBOX_LIMIT),
        **EACH_CHANGE_KEPT,
        **BROKERS_TIME,
    }
    return Topics(
        inbox=Topic(
            name=f"{prefix}inbox",
            config={**kept, "retention.ms": str(horizon_days * DAY_MS)},
            internal=True,
        ),
        outbox=Topic(
            name=f"{prefix}outbox",
            config={
                **kept,
                "retention.ms": str((horizon_days + 1) * DAY_MS),
                "max.message.bytes": str(OUTBOX_LIMIT),
            },
            internal=True,
        ),
        events=Topic(name=f"{prefix}events", config={**kept, "retention.ms": str(7 * DAY_MS)}, internal=False),
        lifecycles=Topic(name=f"{prefix}lifecycles", config=compacted, internal=False),
        suppressions=Topic(name=f"{prefix}suppressions", config=compacted, internal=False),
        deadletter=Topic(name=f"{prefix}deadletter", config={**kept, "retention.ms": str(90 * DAY_MS)}, internal=False),
    )
