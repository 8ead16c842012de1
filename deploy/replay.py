"""Dead letters through the pipeline again, under receipts of their own.

What can be read now becomes a post like any other: its events have the identity that they would have had. Those that
ClickHouse has are left out, however long ago they came; those that are on their way there are duplicates to the worker.
What cannot be read stays where it is, and no new letter is made of it. The original letter stays counted where it was;
``replays`` links it to the new receipt.

Steps, for some letters at a time:

1. Read them again, and leave out the events that are known.
2. Put the others into the inbox, and wait until Kafka has them.
3. Tell that these receipts are answered.
4. Mark the letters as replayed. Who dies before that replays them once more, and nothing of it counts again.
"""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from deploy.dead_letters import Letter, Name, Selection, chosen, letters, mark
from deploy.rereading import Rereading, reread
from deploy.settings import Settings
from deploy.tables import Tables, lists
from deploy.version import VERSION
from ingest.publisher import KafkaPublisher
from streams.contracts import codec
from streams.contracts.clock import Clock, Deadline, rfc3339
from streams.contracts.events import Event
from streams.contracts.receipts import draw_instance, receipt
from streams.contracts.sections import Inbox, ReceiptPart
from streams.contracts.sharding import shard
from streams.contracts.topics import CHUNK_LIMIT

PIECE_LIMIT = CHUNK_LIMIT - 2048
"""Bytes of events in one chunk, so that its header and receipt fit as well."""
UNNAMED = ""
"""The receipt of events of which nobody knows yet whether they are new."""
CLOSE_WITHIN = 10.0
"""Seconds for letting go of Kafka."""
KNOWN = """
select id from events
where occurred_at between parseDateTime64BestEffort({{first:String}}, 3, 'UTC') - interval 1 day
    and parseDateTime64BestEffort({{last:String}}, 3, 'UTC') + interval 1 day
    and id in ({ids})
"""
"""The times bound what is looked through: another time zone of the source may have moved them by less than a day."""


@dataclass(slots=True)
class Tally:
    """What came of the letters of one reason."""

    letters: int = 0
    readable: int = 0
    """Letters of which something can be read now."""
    events: int = 0
    """In them."""
    known: int = 0
    """Of these events, how many ClickHouse has already."""
    troubles: dict[str, int] = field(default_factory=dict)
    """Why letters cannot be read, or not all of them."""


@dataclass(frozen=True, slots=True)
class _Post:
    """What one letter has become."""

    letter: Letter
    receipt: str
    """Empty where nothing of it is new, and for a whole record, which has its own."""
    events: tuple[Event, ...]
    record: bytes | None


class Replay:
    """One run of ``todoke replay``."""

    def __init__(self, *, settings: Settings, clock: Clock, dry_run: bool) -> None:
        """Describe it.

        Args:
            settings: where Kafka and ClickHouse are, and the sources.
            clock: for the time at which the events are received.
            dry_run: read, and do nothing.
        """
        self._settings = settings
        self._clock = clock
        self._dry_run = dry_run
        self._instance = draw_instance()
        self._posts = 0
        self.tallies: dict[str, Tally] = {}
        """By reason."""

    async def run(self, selection: Selection, *, again: bool) -> None:
        """Replay letters.

        Args:
            selection: which.
            again: those too that were replayed before.

        Raises:
            TodokeError: Kafka or ClickHouse does not answer. What was replayed until then is marked.
        """
        settings = self._settings
        publisher = KafkaPublisher(
            kafka=settings.kafka, topic=settings.topics.topics().inbox, compression=settings.ingest.compression
        )
        async with Tables(settings.clickhouse) as tables:
            names = await chosen(tables, selection, again=again)
            if not names:
                return
            await publisher.start()
            try:
                async for some in letters(tables, names):
                    await self._replay(tables, publisher, some)
            finally:
                await publisher.stop(Deadline(CLOSE_WITHIN, self._clock))

    async def _replay(self, tables: Tables, publisher: KafkaPublisher, some: Sequence[Letter]) -> None:
        at = rfc3339(self._clock.now())
        # 1.
        readings = [(letter, reread(letter, self._settings.sources, UNNAMED, at)) for letter in some]
        known = await _known(tables, [event for _, reading in readings for event in reading.events])
        readable = [post for letter, reading in readings if (post := self._post(letter, reading, known)) is not None]
        if self._dry_run or not readable:
            return
        # 2.
        for number, value in self._chunks(readable, at, publisher.shards):
            await publisher.publish(number, value)
        # 3.
        note = {"instance": self._instance, "through": self._posts, "abandoned": []}
        line = orjson.dumps(note, option=orjson.OPT_APPEND_NEWLINE)
        await publisher.publish(0, codec.encode({"received_at": at}, {Inbox.ANSWERED.value: line}))
        # 4.
        await mark(tables, [_mark(post, at) for post in readable])

    def _post(self, letter: Letter, reading: Rereading, known: Container[str]) -> _Post | None:
        """Count what a letter says, and make a post of what is new in it; ``None`` if it cannot be read at all."""
        tally = self.tallies.setdefault(letter.reason, Tally())
        new = tuple(event for event in reading.events if event["id"] not in known)
        tally.letters += 1
        tally.events += len(reading.events)
        tally.known += len(reading.events) - len(new)
        if reading.trouble:
            tally.troubles[reading.trouble] = tally.troubles.get(reading.trouble, 0) + 1
        if reading.record is None and not reading.events:
            return None
        tally.readable += 1
        if reading.record is not None or not new:
            return _Post(letter, "", (), reading.record)
        self._posts += 1
        name = receipt(self._instance, self._posts)
        return _Post(letter, name, tuple({**event, "receipt": name} for event in new), None)

    def _chunks(self, posts: Sequence[_Post], at: str, shards: int) -> Iterator[tuple[int, bytes]]:
        """Write the records for the inbox: ``(shard, value)`` each."""
        for post in posts:
            if post.record is not None:
                yield post.letter.name[3], post.record
            for part, (number, events) in enumerate(_pieces(post.events, shards)):
                told: ReceiptPart = {
                    "receipt": post.receipt,
                    "source": post.events[0]["source"],
                    "received_at": at,
                    "accepted": len(post.events),
                    "events": len(events),
                    "dead_letters": 0,
                    "part": part,
                }
                receipts = orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
                sections = {Inbox.EVENTS.value: b"".join(events), Inbox.RECEIPTS.value: receipts}
                yield number, codec.encode({"received_at": at}, sections)


async def _known(tables: Tables, events: Sequence[Event]) -> frozenset[str]:
    """Tell which events ClickHouse has."""
    if not events:
        return frozenset()
    times = [event["occurred_at"] for event in events]
    known: set[str] = set()
    for ids in lists({event["id"] for event in events}):
        rows = await tables.rows(KNOWN.format(ids=ids), first=min(times), last=max(times))
        known.update(row["id"] for row in rows)
    return frozenset(known)


def _pieces(events: Sequence[Event], shards: int) -> Iterator[tuple[int, list[bytes]]]:
    """Write events as lines, by shard, in blocks that fit a chunk."""
    blocks: dict[int, tuple[int, list[bytes]]] = {}
    for event in events:
        at = shard(event["source"], event["type"], event["message_id"], event["recipient"], shards)
        line = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
        size, lines = blocks.get(at, (0, []))
        if lines and size + len(line) > PIECE_LIMIT:
            yield at, lines
            size, lines = 0, []
        lines.append(line)
        blocks[at] = (size + len(line), lines)
    for at, (_, lines) in blocks.items():
        yield at, lines


def _mark(post: _Post, at: str) -> dict[str, Any]:
    names = ("receipt", "number", "topic", "partition", "offset")
    name: Name = post.letter.name
    return {
        **dict(zip(names, name, strict=True)),
        "replay": post.receipt,
        "events": len(post.events),
        "version": VERSION,
        "replayed_at": at,
    }
