"""A sender like Customers Mail Cloud: several webhook settings, batches by interval and size, many connections.

It re-sends what was not answered 200 in time: the same batch, or cut anew with others. It re-sends answered ones too,
three times on average and up to 46 times, since that is what receivers of such webhooks report. The hours and days that
this takes in life are the seconds of one round here. What it is told is written down in a `Ledger`, nothing else.
"""

import asyncio
import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from tests.traffic.chance import chance
from tests.traffic.connection import FAILURES, Answer, Connection
from tests.traffic.mails import Record
from tests.traffic.wire import FORM, JSON, as_version_1, body

MOST_SENDS = 46
AVERAGE_SENDS = 3.0
RECUT = 0.2
"""Share of the batches that go out in another cut after a failure."""
DISCARD = 0.002
"""Share of the failures after which the sender gives a batch up for good, as at the end of its re-send period."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """One webhook setting in the provider's console."""

    source: str
    """Where it is addressed to."""
    version: int = 2
    content_type: str = JSON
    composition: str = "pro"
    max_events: int = 100
    interval: float = 1.0
    """Seconds."""
    timeout: float = 10.0
    """Seconds."""
    connections: int = 6


WEBHOOKS = (
    Webhook(source="cmc"),
    Webhook(source="form", content_type=FORM, composition="sandbox", max_events=37, interval=0.3, timeout=1.0),
    Webhook(source="old", version=1, content_type=FORM, max_events=500, interval=3.0, timeout=30.0),
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Item:
    """One event that has to be told."""

    webhook: Webhook
    kind: str
    record: Record
    """As its webhook's version has it."""
    at: float
    """Seconds from the beginning of the round until it arises."""


def item(webhook: Webhook, kind: str, record: Record, at: float) -> Item:
    """Make an item of a record of version 2."""
    own = as_version_1(record) if webhook.version == 1 else record
    return Item(webhook=webhook, kind=kind, record=own, at=at)


@dataclass(slots=True)
class Ledger:
    """What was answered 200, and what may have been received besides."""

    accepted: set[Item] = field(default_factory=set)
    offered: set[Item] = field(default_factory=set)
    """Sent at least once."""
    receipts: dict[str, int] = field(default_factory=dict)
    """Events of each answered post, by the receipt that it was given."""
    answers: Counter[str] = field(default_factory=Counter)
    """Statuses, and the kinds of failures."""
    refused: list[str] = field(default_factory=list)
    """Answers that a well-formed post must not get: a provider may throw the events away for one."""
    last_accepted: float = 0.0
    """When the last 200 came, by the monotonic clock."""


@dataclass(slots=True)
class _Batch:
    items: list[Item]
    copy: bool = False
    """It was accepted before."""


class Provider:
    """Sends the items of one round after the other, and old batches again in later rounds."""

    def __init__(self, addresses: Sequence[str], seed: object, ledger: Ledger) -> None:
        """Describe it.

        Args:
            addresses: ``http://host:port``, as many as there are; the connections are spread over them.
            seed: what is drawn depends on it; what happens depends on the answers too.
            ledger: to write into.
        """
        self.ledger = ledger
        self._addresses = itertools.cycle(addresses)
        self._draw = chance("provider", seed)
        self._numbers = itertools.count()
        self._queues: dict[str, list[tuple[float, int, _Batch]]] = {}
        self._unanswered: Counter[str] = Counter()
        self._end = 0.0

    @property
    def is_waiting(self) -> bool:
        """Tell whether some batch was not accepted yet."""
        return self._unanswered.total() > 0

    async def send(self, items: Sequence[Item], seconds: float) -> None:
        """Send all items as they arise over so many seconds; return when all are accepted or given up for good."""
        began = time.monotonic()
        self._end = began + seconds
        webhooks = {one.webhook.source: one.webhook for one in items}
        for source, webhook in webhooks.items():
            queue = self._queues.setdefault(source, [])
            # Copies that are left over from earlier rounds come again some time in this one.
            left = [batch for _, _, batch in queue]
            queue.clear()
            for batch in left:
                self._put(source, batch, began + self._draw.uniform(0, seconds))
            for due, batch in self._batches([one for one in items if one.webhook is webhook], webhook):
                self._unanswered[source] += 1
                self._put(source, batch, began + due)
        async with asyncio.TaskGroup() as group:
            for webhook in webhooks.values():
                for _ in range(webhook.connections):
                    group.create_task(self._connection(webhook))

    def _batches(self, items: Sequence[Item], webhook: Webhook) -> Iterator[tuple[float, _Batch]]:
        """Cut by kind, interval and size, whichever comes first."""
        for kind in sorted({one.kind for one in items}):
            waiting: list[Item] = []
            for one in sorted((one for one in items if one.kind == kind), key=lambda one: one.at):
                if waiting and (one.at - waiting[0].at > webhook.interval or len(waiting) == webhook.max_events):
                    yield waiting[-1].at, self._shuffled(waiting)
                    waiting = []
                waiting.append(one)
            if waiting:
                yield waiting[-1].at, self._shuffled(waiting)

    def _shuffled(self, items: Sequence[Item], *, copy: bool = False) -> _Batch:
        return _Batch(self._draw.sample(items, len(items)), copy)

    def _put(self, source: str, batch: _Batch, due: float) -> None:
        heapq.heappush(self._queues[source], (due, next(self._numbers), batch))

    async def _connection(self, webhook: Webhook) -> None:
        connection = Connection(f"{next(self._addresses)}/v1/webhooks/{webhook.source}")
        queue = self._queues[webhook.source]
        while self._unanswered[webhook.source] or (queue and queue[0][0] < self._end):
            if not queue or queue[0][0] > time.monotonic():
                await asyncio.sleep(0.02)
                continue
            _, _, batch = heapq.heappop(queue)
            if await self._post(connection, webhook, batch):
                self._note_accepted(webhook, batch)
            else:
                self._again(webhook, batch)
        connection.close()

    async def _post(self, connection: Connection, webhook: Webhook, batch: _Batch) -> bool:
        self.ledger.offered.update(batch.items)
        raw = body(
            batch.items[0].kind,
            [one.record for one in batch.items],
            composition=webhook.composition,
            content_type=webhook.content_type,
        )
        try:
            answer = await connection.post(raw, webhook.content_type, patience=webhook.timeout)
        except FAILURES as error:
            self.ledger.answers[type(error).__name__] += 1
            return False
        self.ledger.answers[str(answer.status)] += 1
        if answer.status == 200:
            self._note_receipt(answer, batch)
            return True
        if answer.status != 503:
            self.ledger.refused.append(f"{answer.status} {answer.body[:300]!r}")
        return False

    def _note_receipt(self, answer: Answer, batch: _Batch) -> None:
        said = orjson.loads(answer.body)
        if said["accepted"] != len(batch.items) or said["receipt"] in self.ledger.receipts:
            self.ledger.refused.append(f"answered {said} to {len(batch.items)} events")
        self.ledger.receipts[said["receipt"]] = len(batch.items)
        self.ledger.last_accepted = time.monotonic()

    def _note_accepted(self, webhook: Webhook, batch: _Batch) -> None:
        self.ledger.accepted.update(batch.items)
        if batch.copy:
            return
        self._unanswered[webhook.source] -= 1
        now = time.monotonic()
        for _ in range(_sends(self._draw) - 1):
            copy = self._shuffled(batch.items, copy=True)
            self._put(webhook.source, copy, now + self._draw.expovariate(1 / 10))

    def _again(self, webhook: Webhook, batch: _Batch) -> None:
        """Put a batch back that was not accepted."""
        if self._draw.random() < DISCARD:
            self._unanswered[webhook.source] -= not batch.copy
            return
        due = time.monotonic() + self._draw.uniform(0.2, 3.0)
        newer = self._companion(webhook, batch) if self._draw.random() < RECUT else None
        if newer is None:
            self._put(webhook.source, batch, due)
            return
        items = batch.items + newer.items
        cut = self._draw.randint(1, len(items) - 1)
        self._put(webhook.source, self._shuffled(items[:cut]), due)
        self._put(webhook.source, self._shuffled(items[cut:]), due)

    def _companion(self, webhook: Webhook, batch: _Batch) -> _Batch | None:
        """Take another batch of the same kind out of the queue, that was not accepted either."""
        queue = self._queues[webhook.source]
        for place, (_, _, other) in enumerate(queue):
            if not other.copy and not batch.copy and other.items[0].kind == batch.items[0].kind:
                del queue[place]
                heapq.heapify(queue)
                return other
        return None


def _sends(draw: random.Random) -> int:
    """Draw how often a batch is sent in all: geometric, with the average and the limit that were measured."""
    sends = 1
    while sends < MOST_SENDS and draw.random() > 1 / AVERAGE_SENDS:
        sends += 1
    return sends
