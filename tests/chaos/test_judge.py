"""The judge himself: silent where all is well, and not to be deceived."""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.chaos import findings as kinds
from tests.chaos.expected import SAID, expected
from tests.chaos.findings import Findings
from tests.chaos.items import draw_items
from tests.chaos.judge import Tables, blocked_now, by_name, judge_tables
from tests.chaos.judge_topics import Topics, judge_topics
from tests.chaos.lifecycles import lifecycle
from tests.chaos.poison import Poisoned
from tests.traffic.provider import Ledger

POST = 10
Row = dict[str, Any]


def ledger() -> Ledger:
    """Every event accepted, ten a post."""
    (items,) = draw_items(3, 1, events=200, seconds=10.0)
    receipts = {f"{at:032x}": len(items[at : at + POST]) for at in range(0, len(items), POST)}
    return Ledger(accepted=set(items), offered=set(items), receipts=receipts)


def rows(told: Ledger) -> list[Row]:
    return [
        {
            "id": f"{number:032x}",
            **dict(zip(SAID, expected(item), strict=True)),
            "received_at": "2026-03-02T00:00:00.000Z",
            "receipt": f"{number // POST * POST:032x}",
        }
        for number, item in enumerate(sorted(told.offered, key=lambda one: (one.at, str(one.record))))
    ]


def tables(events: list[Row], told: Ledger) -> Tables:
    """Make what the tables must hold."""
    return Tables(
        events=events,
        lifecycles=[lifecycle(group) for group in by_name(events).values()],
        receipts=[
            {
                "receipt": receipt,
                "accepted": count,
                "unique": sum(event["receipt"] == receipt for event in events),
                "duplicate": count - sum(event["receipt"] == receipt for event in events),
                "dead_lettered": 0,
                "status": "balanced",
            }
            for receipt, count in told.receipts.items()
        ],
        suppressions=[dict(blocked) for blocked in blocked_now(events).values() if blocked],
        stats_hourly=[],
        dead_letters=[],
    )


def found_in(made: Tables, told: Ledger, poisoned: Poisoned | None = None) -> set[str]:
    found = Findings()
    judge_tables(made, told, poisoned or Poisoned(), found)
    # What the statistics must hold is written once, in the judge: here they are left out.
    return {kind for kind, count in found.counts.items() if count} - {kinds.ROLLUPS}


def test_nothing_is_found_where_all_is_well() -> None:
    told = ledger()

    assert found_in(tables(rows(told), told), told) == set()


def test_an_accepted_event_that_is_missing_is_lost_and_one_that_was_never_answered_is_not() -> None:
    told = ledger()
    events = rows(told)
    made = replace(tables(events, told), events=events[1:])
    lost = next(item for item in told.offered if expected(item) == tuple(events[0][name] for name in SAID))

    assert kinds.LOST in found_in(made, told)
    told.accepted.discard(lost)
    assert kinds.LOST not in found_in(made, told)


def test_a_second_row_of_an_event_is_seen_whatever_its_id() -> None:
    told = ledger()
    events = rows(told)

    assert kinds.TWICE in found_in(tables([*events, {**events[0], "id": "f" * 32}], told), told)
    assert kinds.TWICE in found_in(tables([*events, events[0]], told), told)


@pytest.mark.parametrize("field", SAID)
def test_a_field_that_was_changed_is_seen(field: str) -> None:
    told = ledger()
    events = rows(told)
    other = "2027-01-01T00:00:00.000Z" if field == "occurred_at" else f"{events[5][field]}x"
    changed = {**events[5], field: other}

    assert {kinds.LOST, kinds.FOREIGN} <= found_in(
        replace(tables(events, told), events=[*events[:5], changed, *events[6:]]), told
    )


@pytest.mark.parametrize(
    ("table", "kind", "change"),
    [
        ("lifecycles", kinds.LIFECYCLES, lambda row: {**row, "state": "unknown"}),
        ("lifecycles", kinds.LIFECYCLES, lambda row: {**row, "last_seen_at": "2030-01-01T00:00:00.000Z"}),
        ("receipts", kinds.RECEIPTS, lambda row: {**row, "duplicate": row["duplicate"] + 1}),
        ("receipts", kinds.RECEIPTS, lambda row: {**row, "unique": row["unique"] - 1, "duplicate": 1}),
        ("receipts", kinds.RECEIPTS, lambda row: {**row, "status": "missing"}),
        ("suppressions", kinds.SUPPRESSIONS, lambda row: {**row, "recipient": "other@example.jp"}),
    ],
)
def test_a_wrong_row_is_seen(table: str, kind: str, change: Callable[[Row], Row]) -> None:
    told = ledger()
    made = tables(rows(told), told)
    there = list(getattr(made, table))

    assert kind in found_in(replace(made, **{table: [change(there[0]), *there[1:]]}), told)
    assert kind in found_in(replace(made, **{table: there[1:]}), told)


def test_only_poison_may_be_among_the_dead_letters_and_all_of_it() -> None:
    told = ledger()
    made = tables(rows(told), told)
    poisoned = Poisoned()
    poisoned.surely[b"poison"] = 1
    kept = replace(made, dead_letters=[{"raw": base64.b64encode(b"poison").decode()}])

    assert kinds.DEAD in found_in(made, told, poisoned)
    assert kinds.DEAD not in found_in(kept, told, poisoned)
    assert kinds.DEAD in found_in(kept, told)


def test_the_topics_are_read_change_by_change() -> None:
    events = rows(ledger())
    group = max(by_name(events).values(), key=len)
    first, last = lifecycle(group[:1]), lifecycle(group)
    key = "\x1f".join((last["source"], last["message_id"], last["recipient"])).encode()
    published = [(event["message_id"].encode(), orjson.dumps(event)) for event in group]
    grown, changes = (key, orjson.dumps(last)), [(key, orjson.dumps(first)), (key, orjson.dumps(last))]

    def wrong(on_events: list[Any], on_lifecycles: list[Any]) -> bool:
        found = Findings()
        topics = Topics(events=on_events, lifecycles=on_lifecycles, suppressions=[], deadletter=[])
        judge_topics(group, topics, Poisoned(), found)
        return bool(found)

    assert len(group) > 1
    assert not wrong(published, changes)
    assert not wrong(published, [grown])
    assert wrong([*published, published[0]], changes)
    assert wrong(published[1:], changes)
    assert wrong(published, changes[::-1])
    assert wrong(published, [*changes, grown])
    assert wrong(published, changes[:1])
    assert wrong(published, [(key, orjson.dumps({**last, "subject": "another"}))])
