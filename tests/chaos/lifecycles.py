"""The lifecycle of a mail, by the words of the contract: computed from a set of events, whatever their order."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.chaos.expected import Event

STATES = ("queued", "deferred", "delivered", "failed", "bounced")
"""From the least to the most severe; the types of events that make lifecycles."""

Name = tuple[str, str, str]
"""Source, message id, recipient."""


def name_of(event: Event) -> Name | None:
    """Name the lifecycle that an event belongs to, if it belongs to any."""
    if event["type"] not in STATES or not event["message_id"]:
        return None
    return event["source"], event["message_id"], event["recipient"]


def lifecycle(events: Iterable[Event]) -> dict[str, Any]:
    """Compute the lifecycle of one name, in the order of its JSON."""
    ordered = sorted(events, key=lambda event: (event["occurred_at"], event["id"]))
    first = ordered[0]
    queued, deferred, delivered, failed, bounced = (_of(ordered, state) for state in STATES)
    start, end = _earliest(queued), _earliest(delivered)
    return {
        "source": first["source"],
        "message_id": first["message_id"],
        "recipient": first["recipient"],
        "state": max((event["type"] for event in ordered), key=STATES.index),
        "queued_at": start,
        "first_deferred_at": _earliest(deferred),
        "last_deferred_at": deferred[-1]["occurred_at"] if deferred else None,
        "delivered_at": end,
        "failed_at": _earliest(failed),
        "bounced_at": _earliest(bounced),
        "first_seen_at": first["occurred_at"],
        "last_seen_at": ordered[-1]["occurred_at"],
        "deferrals": len(deferred),
        "events": len(ordered),
        "bounce_code": _text(bounced, "bounce_code"),
        "bounce_class": _text(bounced, "bounce_class"),
        "bounce_reason": _text(bounced, "bounce_reason"),
        "failed_reason": _text(failed, "reason"),
        "bounced_reason": _text(bounced, "reason"),
        "sender": _text(ordered, "sender"),
        "subject": _text(ordered, "subject"),
        "api_data": _text(ordered, "api_data"),
        "composition": _text(ordered, "composition"),
        "delivery_seconds": None if start is None or end is None else _seconds(start, end),
    }


def _of(ordered: Sequence[Event], state: str) -> list[Event]:
    return [event for event in ordered if event["type"] == state]


def _earliest(events: Sequence[Event]) -> str | None:
    return events[0]["occurred_at"] if events else None


def _text(ordered: Sequence[Event], field: str) -> str:
    return next((event[field] for event in ordered if event[field]), "")


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def suppression(events: Iterable[Event]) -> Mapping[str, Any] | None:
    """Tell who must not be mailed by the block-list events of one source and address, if it is blocked now.

    The latest word counts, and of two at one time the one that says blocked.
    """
    latest = max(events, key=lambda event: (event["occurred_at"], event["type"] == "blocked", event["id"]))
    if latest["type"] != "blocked":
        return None
    return {"source": latest["source"], "recipient": latest["recipient"], "since": latest["occurred_at"], "until": None}
