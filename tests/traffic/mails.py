"""Made-up mail histories in the form of Customers Mail Cloud, the same for the same seed."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

import orjson

from tests.traffic.chance import chance

START = datetime(2026, 3, 2, 9, 0)  # noqa: DTZ001 - providers send local times without a zone
MAILS_PER_SECOND = 500
SUBJECTS = ("メールマガジンのテスト", "ご注文ありがとうございます", "Your receipt", "パスワード再設定のご案内")
UNKNOWN_USER = "550 5.1.1 The email account that you tried to reach does not exist. (in reply to RCPT TO)"
TRY_LATER = "451 4.7.1 Try again later (in reply to RCPT TO)"

Record = dict[str, Any]
"""One record as version 2 of the provider's webhook has it."""


class Moment(NamedTuple):
    """One thing that happened to a mail."""

    at: float
    """Seconds since the start of all traffic."""

    type: str
    """In todoke's words."""

    kind: str
    """``event_type`` of the post that tells it."""

    record: Record


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
    timeline: list[Moment] = []
    for number in _count(events, by_type):
        moments = list(history(number, chance(seed, number)))
        by_type.update(moment.type for moment in moments)
        by_state[moments[-1].type] += 1
        timeline += moments
    timeline.sort(key=attrgetter("at"))
    return Traffic(posts=list(_posts(timeline, batch)), by_type=by_type, by_state=by_state)


def _count(events: int, by_type: Counter[str]) -> Iterator[int]:
    number = 0
    while by_type.total() < events:
        yield number
        number += 1


def history(number: int, draw: random.Random) -> Iterator[Moment]:
    """Yield what happens to one mail, in the order of time."""
    at = number / MAILS_PER_SECOND
    mail: Record = {
        "messageId": f"<{number:08x}-{draw.getrandbits(48):012x}@mta{number % 7:02d}.example.com>",
        "from": "info@example.com",
        "to": f"user{draw.getrandbits(32)}@{draw.choice(('example.jp', 'example.com', 'Example.NET'))}",
        "returnPath": "info@return.pro.smtps.jp",
        "subject": SUBJECTS[number % len(SUBJECTS)],
        "apiData": f"campaign-{number % 50}",
    }
    relay = {"sourceIp": "192.0.2.10", "senderIp": ""}
    remote = {"sourceIp": "", "senderIp": f"198.51.100.{number % 40}"}
    yield Moment(at, "queued", "deliveries", {**mail, **relay, "created": local(at), "status": "queued", "reason": ""})
    while draw.random() < 0.08:
        at += draw.uniform(1, 20)
        yield Moment(
            at,
            "deferred",
            "deliveries",
            {**mail, **remote, "created": local(at), "status": "deferred", "reason": TRY_LATER},
        )
    at += draw.uniform(0.2, 8)
    if draw.random() < 0.95:
        yield Moment(
            at, "delivered", "deliveries", {**mail, **remote, "created": local(at), "status": "succeeded", "reason": ""}
        )
        if draw.random() < 0.01:
            at += draw.uniform(2, 60)
            yield Moment(
                at,
                "bounced",
                "bounces",
                {**mail, "created": local(at), "status": "5", "reason": "552 5.2.2 Mailbox full"},
            )
        return
    yield Moment(
        at, "failed", "deliveries", {**mail, **remote, "created": local(at), "status": "failed", "reason": UNKNOWN_USER}
    )
    at += 1
    yield Moment(at, "bounced", "bounces", {**mail, "created": local(at), "status": "2", "reason": UNKNOWN_USER})


def local(seconds: float) -> str:
    """Write a time as the provider does: the clock of its console's zone, which it does not tell."""
    return f"{START + timedelta(seconds=int(seconds)):%Y-%m-%d %H:%M:%S}"


def _posts(timeline: Iterable[Moment], batch: int) -> Iterator[Post]:
    """Cut a timeline into posts: each holds one kind of event, as the provider groups them."""
    waiting: dict[str, list[Record]] = {"deliveries": [], "bounces": []}
    for _, _, kind, record in timeline:
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
