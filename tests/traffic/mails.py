"""Made-up mail histories in the form of Customers Mail Cloud, the same for the same seed."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

import orjson

START = datetime(2026, 3, 2, 9, 0)  # noqa: DTZ001 - providers send local times without a zone
MAILS_PER_SECOND = 500
SUBJECTS = ("メールマガジンのテスト", "ご注文ありがとうございます", "Your receipt", "パスワード再設定のご案内")
UNKNOWN_USER = "550 5.1.1 The email account that you tried to reach does not exist. (in reply to RCPT TO)"
TRY_LATER = "451 4.7.1 Try again later (in reply to RCPT TO)"

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """One post as the provider makes it: events of one kind."""

    body: bytes
    """JSON."""

    events: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """Posts to send, and what must come of them however often and in whatever order they arrive."""

    posts: list[Post]
    """In the order of time; every event is in exactly one."""

    by_type: Counter[str]
    """Unique events by todoke's type."""

    by_state: Counter[str]
    """Lifecycles by state."""

    @property
    def unique(self) -> int:
        return self.by_type.total()


def traffic(events: int, *, seed: int = 1, batch: int = 100) -> Traffic:
    """Make mails until they have at least this many events, cut into posts of at most ``batch``."""
    by_type: Counter[str] = Counter()
    by_state: Counter[str] = Counter()
    timeline: list[tuple[float, str, Record]] = []
    for number in _count(events, by_type):
        moments = list(_history(number, random.Random(seed * 1_000_003 + number)))  # noqa: S311 - test data, no secrets
        by_type.update(type_ for _, type_, _ in moments)
        by_state[moments[-1][1]] += 1
        timeline += moments
    timeline.sort(key=itemgetter(0))
    return Traffic(posts=list(_posts(timeline, batch)), by_type=by_type, by_state=by_state)


def _count(events: int, by_type: Counter[str]) -> Iterator[int]:
    number = 0
    while by_type.total() < events:
        yield number
        number += 1


def _history(number: int, chance: random.Random) -> Iterator[tuple[float, str, Record]]:
    """Yield ``(seconds since the start, todoke's type, record)`` of one mail, in the order of time."""
    at = number / MAILS_PER_SECOND
    mail: Record = {
        "messageId": f"<{number:08x}-{chance.getrandbits(48):012x}@mta{number % 7:02d}.example.com>",
        "from": "info@example.com",
        "to": f"user{chance.getrandbits(32)}@{chance.choice(('example.jp', 'example.com', 'Example.NET'))}",
        "returnPath": "info@return.pro.smtps.jp",
        "subject": SUBJECTS[number % len(SUBJECTS)],
        "apiData": f"campaign-{number % 50}",
    }
    relay = {"sourceIp": "192.0.2.10", "senderIp": ""}
    remote = {"sourceIp": "", "senderIp": f"198.51.100.{number % 40}"}
    yield at, "queued", {**mail, **relay, "created": _local(at), "status": "queued", "reason": ""}
    while chance.random() < 0.08:
        at += chance.uniform(1, 20)
        yield at, "deferred", {**mail, **remote, "created": _local(at), "status": "deferred", "reason": TRY_LATER}
    at += chance.uniform(0.2, 8)
    if chance.random() < 0.95:
        yield at, "delivered", {**mail, **remote, "created": _local(at), "status": "succeeded", "reason": ""}
        if chance.random() < 0.01:
            at += chance.uniform(2, 60)
            yield at, "bounced", {**mail, "created": _local(at), "status": "5", "reason": "552 5.2.2 Mailbox full"}
        return
    yield at, "failed", {**mail, **remote, "created": _local(at), "status": "failed", "reason": UNKNOWN_USER}
    at += 1
    yield at, "bounced", {**mail, "created": _local(at), "status": "2", "reason": UNKNOWN_USER}


def _local(seconds: float) -> str:
    return f"{START + timedelta(seconds=int(seconds)):%Y-%m-%d %H:%M:%S}"


def _posts(timeline: Iterable[tuple[float, str, Record]], batch: int) -> Iterator[Post]:
    """Cut a timeline into posts: each holds one kind of event, as the provider groups them."""
    waiting: dict[str, list[Record]] = {"deliveries": [], "bounces": []}
    for _, type_, record in timeline:
        kind = "bounces" if type_ == "bounced" else "deliveries"
        waiting[kind].append(record)
        if len(waiting[kind]) == batch:
            yield _post(kind, waiting[kind])
            waiting[kind] = []
    for kind, records in waiting.items():
        if records:
            yield _post(kind, records)


def _post(kind: str, records: list[Record]) -> Post:
    body = {"event_type": kind, "server_composition": "pro", "event": {kind: records}}
    return Post(body=orjson.dumps(body), events=len(records))
