from datetime import UTC, datetime, timedelta

import orjson

from deploy.inbox_replay import _identities, oldest_copied
from streams.contracts.clock import rfc3339
from streams.recent import Recent
from streams.state import hours

NOW = datetime(2026, 3, 9, 10, 0, 0, tzinfo=UTC)


def is_known(written: datetime, at: datetime, horizon_days: int) -> bool:
    """Tell whether a worker knows at a time what it learned when it was written."""
    known: Recent[bool] = Recent(horizon_days * 24)
    known.advance(hours(rfc3339(written)))
    known.put("event", value=True)
    known.advance(hours(rfc3339(at)))
    return "event" in known


def test_the_oldest_that_is_copied_is_still_known_while_its_copy_is_worked_off() -> None:
    for minute in range(60):
        now = NOW + timedelta(minutes=minute)
        oldest = oldest_copied(now, 7)
        assert is_known(oldest, now + timedelta(minutes=59), 7)
        assert now - oldest > timedelta(days=6, hours=22)


def test_a_line_that_is_no_event_hinders_no_replay() -> None:
    event = {"id": "a", "occurred_at": "2026-03-09T10:00:00.000Z"}
    others = [
        {"id": ["a"], "occurred_at": "2026-03-09T10:00:00.000Z"},
        {"id": "b", "occurred_at": 1},
        {"id": "c", "occurred_at": "soon"},
        {"id": None},
        [],
        "a",
        None,
    ]

    lines = [orjson.dumps(line) for line in (*others, event)]

    assert list(_identities(b"\n".join([b"{", *lines]))) == [("a", "2026-03-09T10:00:00.000Z")]
