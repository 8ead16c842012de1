"""The event: one thing that happened to one mail for one recipient."""

from enum import StrEnum
from typing import TypedDict

SCHEMA = "event/1"


class EventType(StrEnum):
    """What happened, in todoke's words; the provider's own word is kept in ``provider_status``."""

    QUEUED = "queued"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    FAILED = "failed"
    BOUNCED = "bounced"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    UNKNOWN = "unknown"


LIFECYCLE_TYPES = frozenset(
    {EventType.QUEUED, EventType.DEFERRED, EventType.DELIVERED, EventType.FAILED, EventType.BOUNCED}
)
"""The types that make lifecycles, of events that carry a message id."""

SUPPRESSION_TYPES = frozenset({EventType.BLOCKED, EventType.UNBLOCKED})
"""The types that say who must not be mailed."""


class Event(TypedDict):
    """A normalised event, in the order of its fields on the wire. Text that the provider did not give is empty.

    ``occurred_at`` and ``received_at`` have the form of `streams.contracts.clock.rfc3339`; ``id`` and ``receipt`` are
    32 hexadecimal digits.
    """

    id: str
    source: str
    provider: str
    composition: str
    type: str
    provider_status: str
    message_id: str
    recipient: str
    sender: str
    return_path: str
    subject: str
    reason: str
    api_data: str
    source_ip: str
    sender_ip: str
    bounce_code: str
    bounce_class: str
    bounce_reason: str
    occurred_at: str
    occurred_raw: str
    received_at: str
    receipt: str
