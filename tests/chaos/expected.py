"""What the documents promise of a record: the event it becomes. Written from them, never from the product's code."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tests.traffic.provider import Item

Event = Mapping[str, Any]
"""One event as it stands in the table and on the topic."""

OFFSET = timedelta(hours=9)
"""The provider's clock is that of Asia/Tokyo."""
DELIVERIES = {"queued": "queued", "deferred": "deferred", "succeeded": "delivered", "failed": "failed"}
BLOCKS = {"registered": "blocked", "deleted": "unblocked"}
BOUNCES = {
    "1": ("hard", "unknown_host"),
    "2": ("hard", "unknown_user"),
    "3": ("soft", "resend_timeout"),
    "4": ("policy", "rejected"),
    "5": ("soft", "mailbox_full"),
    "6": ("undetermined", "forwarding_error"),
    "7": ("soft", "server_error"),
    "8": ("soft", "message_too_large"),
    "9": ("hard", "invalid_address"),
    "10": ("block", "blocked_address"),
    "11": ("block", "unsubscribed"),
}
SAID = (
    "source",
    "provider",
    "composition",
    "type",
    "provider_status",
    "message_id",
    "recipient",
    "sender",
    "return_path",
    "subject",
    "reason",
    "api_data",
    "source_ip",
    "sender_ip",
    "bounce_code",
    "bounce_class",
    "bounce_reason",
    "occurred_at",
    "occurred_raw",
)
"""The fields that follow from what the provider said; the rest is todoke's: id, received_at, receipt."""

FIELDS = ("id", *SAID, "received_at", "receipt")


def content(event: Event) -> tuple[str, ...]:
    """Take what was said of an event: no two of the sender's events are alike in all of it."""
    return tuple(event[name] for name in SAID)


def expected(item: Item) -> tuple[str, ...]:
    """Tell the `content` that an item must have in the end."""
    record, kind = item.record, item.kind
    get = record.get
    local, _, domain = (get("to") or get("envelopeTo") or get("email") or "").rpartition("@")
    status = record["status"]
    bounce = BOUNCES.get(status, ("undetermined", "other")) if kind == "bounces" else ("", "")
    words = {"deliveries": DELIVERIES, "blocks": BLOCKS}.get(kind, {})
    return (
        item.webhook.source,
        "customers-mail-cloud",
        item.webhook.composition,
        "bounced" if kind == "bounces" else words.get(status, "unknown"),
        status,
        get("messageId", "").strip("<>"),
        f"{local}@{domain.lower()}",
        get("from", ""),
        get("returnPath") or get("envelopeFrom") or "",
        get("subject", ""),
        get("reason", ""),
        get("apiData", ""),
        get("sourceIp", ""),
        get("senderIp", ""),
        status if kind == "bounces" else "",
        *bounce,
        utc(record["created"]),
        record["created"],
    )


def utc(created: str) -> str:
    """Read the provider's time; give it in UTC as RFC 3339 with milliseconds."""
    at = datetime.strptime(created, "%Y-%m-%d %H:%M:%S") - OFFSET  # noqa: DTZ007 - the zone is not in the text
    return f"{at:%Y-%m-%dT%H:%M:%S}.000Z"
