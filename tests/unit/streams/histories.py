"""Any histories of mails, for Hypothesis, and what must come of them, computed the slow and obvious way."""

from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from streams.contracts.events import Event
from tests.chunks import make_event

ORDER = ("queued", "deferred", "delivered", "failed", "bounced")
TIMES = st.builds("2026-03-02T00:00:{:02d}.{:03d}Z".format, st.integers(0, 4), st.sampled_from([0, 1, 999]))
SOME_TEXT = st.sampled_from(["", "", "a", "b", 'quo"te', "日本語", "back\\slash", "new\nline"])
IDS = st.sampled_from(["", "one@example.com", 'odd","state":"x@example.com', "two\\@example.com"])
RECIPIENTS = st.sampled_from(["", "user@example.jp", '"a \\" b"@example.jp'])


@st.composite
def events(draw: st.DrawFn) -> Event:
    return make_event(
        source=draw(st.sampled_from(["cmc", "other"])),
        type=draw(st.sampled_from([*ORDER, "blocked", "unblocked", "unknown", "opened"])),
        message_id=draw(IDS),
        recipient=draw(RECIPIENTS),
        occurred_at=draw(TIMES),
        sender=draw(SOME_TEXT),
        subject=draw(SOME_TEXT),
        reason=draw(SOME_TEXT),
        api_data=draw(SOME_TEXT),
        composition=draw(SOME_TEXT),
        bounce_code=draw(SOME_TEXT),
        bounce_class=draw(SOME_TEXT),
        bounce_reason=draw(SOME_TEXT),
        receipt=draw(st.sampled_from([f"{1:032x}", f"{2:032x}"])),
    )


def by_mail(history: list[Event]) -> dict[tuple[str, str, str], list[Event]]:
    mails: dict[tuple[str, str, str], dict[str, Event]] = {}
    for event in history:
        if event["type"] in ORDER and event["message_id"]:
            name = (event["source"], event["message_id"], event["recipient"])
            mails.setdefault(name, {})[event["id"]] = event
    return {
        name: sorted(unique.values(), key=lambda event: (event["occurred_at"], event["id"]))
        for name, unique in mails.items()
    }


def lifecycle_of(history: list[Event]) -> dict[str, Any]:
    """Say what the lifecycle of a mail's unique events, in the order of time, must be."""

    def first_text(field: str, *types: str) -> str:
        given: list[str] = [event[field] for event in history if event["type"] in types]  # type: ignore[literal-required] # a field of Event
        return next((text for text in given if text), "")

    def times(type_: str) -> list[str]:
        return [event["occurred_at"] for event in history if event["type"] == type_] or [None]  # type: ignore[list-item] # stands for "never"

    queued, delivered = times("queued")[0], times("delivered")[0]
    return {
        "source": history[0]["source"],
        "message_id": history[0]["message_id"],
        "recipient": history[0]["recipient"],
        "state": max((event["type"] for event in history), key=ORDER.index),
        "queued_at": queued,
        "first_deferred_at": times("deferred")[0],
        "last_deferred_at": times("deferred")[-1],
        "delivered_at": delivered,
        "failed_at": times("failed")[0],
        "bounced_at": times("bounced")[0],
        "first_seen_at": history[0]["occurred_at"],
        "last_seen_at": history[-1]["occurred_at"],
        "deferrals": sum(event["type"] == "deferred" for event in history),
        "events": len(history),
        "bounce_code": first_text("bounce_code", "bounced"),
        "bounce_class": first_text("bounce_class", "bounced"),
        "bounce_reason": first_text("bounce_reason", "bounced"),
        "failed_reason": first_text("reason", "failed"),
        "bounced_reason": first_text("reason", "bounced"),
        "sender": first_text("sender", *ORDER),
        "subject": first_text("subject", *ORDER),
        "api_data": first_text("api_data", *ORDER),
        "composition": first_text("composition", *ORDER),
        "delivery_seconds": seconds(queued, delivered) if queued and delivered else None,
    }


def seconds(start: str, end: str) -> float:
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 3)


def suppressions_of(history: list[Event]) -> dict[tuple[str, str], tuple[bool, str]]:
    """Say for each address whether it is blocked, and by which event."""
    told: dict[tuple[str, str], tuple[bool, str]] = {}
    for event in sorted(history, key=lambda event: (event["occurred_at"], event["type"] == "blocked", event["id"])):
        if event["type"] in {"blocked", "unblocked"} and event["recipient"]:
            told[event["source"], event["recipient"]] = (event["type"] == "blocked", event["id"])
    return told
