"""Holds what ClickHouse has against what the sender was told: nothing lost, nothing twice, every figure as defined.

Pure, and independent of the product's code: `expected` and `lifecycles` are written from the documents. Which events
are one is told by their contents, never by the product's id.
"""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos import findings as kinds
from tests.chaos.expected import Event, content, expected
from tests.chaos.findings import Findings
from tests.chaos.lifecycles import STATES, Name, lifecycle, name_of, suppression
from tests.chaos.poison import Poisoned
from tests.traffic.provider import Ledger

Row = Mapping[str, Any]
DIMENSIONS = ("hour", "source", "composition", "sender_domain", "recipient_domain")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """All rows of what the contract names."""

    events: Sequence[Event]
    lifecycles: Sequence[Row]
    receipts: Sequence[Row]
    suppressions: Sequence[Row]
    stats_hourly: Sequence[Row]
    dead_letters: Sequence[Row]


def judge_tables(tables: Tables, ledger: Ledger, poisoned: Poisoned, found: Findings) -> None:
    """Note everything in the tables that is not as promised."""
    judge_events(tables.events, ledger, found)
    judge_receipts(tables.events, tables.receipts, ledger, found)
    judge_lifecycles(tables.events, tables.lifecycles, found)
    judge_suppressions(tables.events, tables.suppressions, found)
    judge_stats(tables.events, tables.stats_hourly, found)
    for wrong in poisoned.wrong([base64.b64decode(letter["raw"]) for letter in tables.dead_letters]):
        found.note(kinds.DEAD, f"in the table: {wrong}")
    for answer in ledger.refused:
        found.note(kinds.REFUSED, answer)


def judge_events(events: Sequence[Event], ledger: Ledger, found: Findings) -> None:
    """Each accepted event once; each that was sent and never answered 200 once or not at all; and no others."""
    items = {expected(item): item for item in ledger.offered}
    if len(items) != len(ledger.offered):
        raise ValueError("the generator made two events of equal contents, which nobody could tell apart")
    there = Counter(map(content, events))
    for words, item in items.items():
        if item in ledger.accepted and not there[words]:
            found.note(kinds.LOST, words)
    for words, count in there.items():
        if words not in items:
            found.note(kinds.FOREIGN, words)
        for _ in range(count - 1):
            found.note(kinds.TWICE, words)
    for id_, count in Counter(event["id"] for event in events).items():
        if count > 1:
            found.note(kinds.TWICE, f"the id {id_} stands for {count} events")


def judge_receipts(events: Sequence[Event], receipts: Sequence[Row], ledger: Ledger, found: Findings) -> None:
    """Each answered post: accepted = unique + duplicate + dead-lettered, and as many rows as it says are unique."""
    brought = Counter(event["receipt"] for event in events)
    known = {row["receipt"]: row for row in receipts}
    if len(known) != len(receipts):
        found.note(kinds.RECEIPTS, f"{len(receipts)} rows name {len(known)} receipts")
    for receipt, count in ledger.receipts.items():
        row = known.get(receipt)
        if row is None:
            found.note(kinds.RECEIPTS, f"{receipt} was given for {count} events and is unknown")
        elif row["accepted"] != count or _told(row) != count or row["status"] != "balanced":
            found.note(kinds.RECEIPTS, f"{dict(row)}, given for {count} events")
    for receipt, row in known.items():
        if row["unique"] != brought.pop(receipt, 0):
            found.note(kinds.RECEIPTS, f"{dict(row)} has another number of events in the table")
        if receipt not in ledger.receipts and (
            _told(row) > row["accepted"] or row["status"] not in {"balanced", "unanswered"}
        ):
            found.note(kinds.RECEIPTS, f"{dict(row)}, which nobody was given")
    for receipt, count in brought.items():
        found.note(kinds.RECEIPTS, f"{count} events name the receipt {receipt}, which is unknown")


def _told(row: Row) -> int:
    return int(row["unique"] + row["duplicate"] + row["dead_lettered"])


def judge_lifecycles(events: Iterable[Event], rows: Iterable[Row], found: Findings) -> None:
    """Each lifecycle is the one of its events in every field.

    With `judge_events` that is also the lifecycle of the sender's own list, for mails that were accepted as a whole.
    """
    computed = {name: lifecycle(group) for name, group in by_name(events).items()}
    for row in rows:
        wanted = computed.pop((row["source"], row["message_id"], row["recipient"]), None)
        if dict(row) != wanted:
            found.note(kinds.LIFECYCLES, f"{dict(row)} instead of {wanted}")
    for missing in computed.values():
        found.note(kinds.LIFECYCLES, f"nothing instead of {missing}")


def by_name(events: Iterable[Event]) -> dict[Name, list[Event]]:
    """Group events by the lifecycle that they belong to, in their order; leave out those that belong to none."""
    groups: dict[Name, list[Event]] = defaultdict(list)
    for event in events:
        name = name_of(event)
        if name is not None:
            groups[name].append(event)
    return groups


def blocked_now(events: Iterable[Event]) -> dict[tuple[str, str], Mapping[str, Any] | None]:
    """Tell of every address that the block list ever named whether it is blocked now."""
    groups: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        if event["type"] in {"blocked", "unblocked"} and event["recipient"]:
            groups[event["source"], event["recipient"]].append(event)
    return {name: suppression(group) for name, group in groups.items()}


def judge_suppressions(events: Iterable[Event], rows: Iterable[Row], found: Findings) -> None:
    """Exactly those are listed that are blocked now."""
    wanted = {name: blocked for name, blocked in blocked_now(events).items() if blocked}
    for row in rows:
        blocked = wanted.pop((row["source"], row["recipient"]), None)
        if blocked is None or any(row[name] != value for name, value in blocked.items()):
            found.note(kinds.SUPPRESSIONS, f"{dict(row)} instead of {blocked}")
    for missing in wanted.values():
        found.note(kinds.SUPPRESSIONS, f"nothing instead of {missing}")


def judge_stats(events: Iterable[Event], rows: Iterable[Row], found: Findings) -> None:
    """The hourly counts are those of the events."""
    wanted: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for event in events:
        if event["type"] in STATES:
            counts = wanted[_dimensions(event)]
            counts[event["type"]] += 1
            if event["type"] == "bounced" and event["bounce_class"] in {"hard", "soft", "block"}:
                counts[f"{event['bounce_class']}_bounces"] += 1
    for row in rows:
        counts = wanted.pop(tuple(row[name] for name in DIMENSIONS), Counter())
        shown = {name: value for name, value in row.items() if name not in DIMENSIONS}
        if any(counts[name] != value for name, value in shown.items()):
            found.note(kinds.ROLLUPS, f"{dict(row)} instead of {dict(counts)}")
    for name, counts in wanted.items():
        found.note(kinds.ROLLUPS, f"nothing at {name} instead of {dict(counts)}")


def _dimensions(event: Event) -> tuple[str, ...]:
    hour = f"{event['occurred_at'][:13]}:00:00.000Z"
    return hour, event["source"], event["composition"], _domain(event["sender"]), _domain(event["recipient"])


def _domain(address: str) -> str:
    """Take the domain of an address that may be written ``Name <name@domain>``; empty if there is none."""
    return address.rpartition("@")[2].partition(">")[0].strip().lower() if "@" in address else ""
