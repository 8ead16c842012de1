"""Holds the public topics, read as any consumer reads them, against the tables: every change once, in order per key."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from tests.chaos import findings as kinds
from tests.chaos.expected import FIELDS, Event
from tests.chaos.findings import Findings
from tests.chaos.judge import blocked_now, by_name
from tests.chaos.lifecycles import lifecycle
from tests.chaos.poison import Poisoned

Published = Sequence[tuple[bytes, bytes | None]]
"""Keys and values, each partition in its order; ``None`` for a tombstone."""

SEPARATOR = "\x1f"


@dataclass(frozen=True, kw_only=True, slots=True)
class Topics:
    """All committed records of the public topics."""

    events: Published
    lifecycles: Published
    suppressions: Published
    deadletter: Published


def judge_topics(table: Iterable[Event], topics: Topics, poisoned: Poisoned, found: Findings) -> None:
    """Note everything on the public topics that is not as promised."""
    published: list[Event] = [orjson.loads(value or b"{}") for _, value in topics.events]
    judge_events_topic(table, topics.events, published, found)
    judge_lifecycles_topic(published, topics.lifecycles, found)
    judge_suppressions_topic(published, topics.suppressions, found)
    for wrong in poisoned.wrong([value or b"" for _, value in topics.deadletter]):
        found.note(kinds.DEAD, f"on mail.deadletter: {wrong}")


def judge_events_topic(table: Iterable[Event], records: Published, published: Sequence[Event], found: Findings) -> None:
    """Each event of the table once, the same in every field, under its message id."""
    rows = {event["id"]: event for event in table}
    for (key, _), event in zip(records, published, strict=True):
        row = rows.pop(event.get("id"), None)
        if row is None:
            found.note(kinds.TOPICS, f"on mail.events twice, or not in the table: {event}")
        elif any(row[name] != event.get(name) for name in FIELDS) or key.decode() != event["message_id"]:
            found.note(kinds.TOPICS, f"on mail.events {event}, in the table {dict(row)}, under the key {key!r}")
    for row in rows.values():
        found.note(kinds.TOPICS, f"not on mail.events: {dict(row)}")


def judge_lifecycles_topic(published: Iterable[Event], records: Published, found: Findings) -> None:
    """Each change of a lifecycle once, growing, and each byte for byte the lifecycle of the events up to then.

    Both topics of one mail are written in the order in which its events came in, so that a change with n events is the
    lifecycle of the first n on ``mail.events``.
    """
    groups = by_name(published)
    shown: dict[bytes, int] = {}
    for key, value in records:
        name = tuple(key.decode().split(SEPARATOR))
        group = groups.get(name, []) if len(name) == 3 else []
        count = orjson.loads(value or b"{}").get("events", 0)
        if not shown.get(key, 0) < count <= len(group):
            found.note(kinds.TOPICS, f"on mail.lifecycles again, or out of order: {value!r}")
        elif value != orjson.dumps(lifecycle(group[:count])):
            found.note(kinds.TOPICS, f"on mail.lifecycles {value!r} instead of {lifecycle(group[:count])}")
        shown[key] = count
    for name, group in groups.items():
        if shown.get(SEPARATOR.join(name).encode(), 0) != len(group):
            found.note(kinds.TOPICS, f"the last change is not on mail.lifecycles: {lifecycle(group)}")


def judge_suppressions_topic(published: Iterable[Event], records: Published, found: Findings) -> None:
    """The last record of each address tells whether it is blocked now."""
    latest = {key: orjson.loads(value) if value else None for key, value in records}
    for (source, recipient), blocked in blocked_now(published).items():
        told = latest.pop(f"{source}{SEPARATOR}{recipient}".encode(), "nothing")
        same = told is None if blocked is None else isinstance(told, dict) and blocked.items() <= told.items()
        if not same:
            found.note(kinds.TOPICS, f"on mail.suppressions {told} instead of {blocked}")
    for key in latest:
        found.note(kinds.TOPICS, f"on mail.suppressions {key!r}, which no event names")
