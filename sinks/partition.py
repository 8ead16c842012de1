"""One outbox partition on its way through a sink: records in, blocks out. Pure: no Kafka, no clock."""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sinks.block import Block
from sinks.position import Bounds, Position
from streams.contracts.chain import Chain, Link
from streams.contracts.codec import Record
from streams.contracts.errors import LaterFormError
from streams.contracts.outbox import read_outbox
from streams.contracts.sections import Outbox

logger = logging.getLogger(__name__)

STRAYS_TO_TELL = 100
"""Records in a row that do not count, at which somebody should look: a few are the work of a process that lost its
partition, many mean that the log is not the one that was read before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How large a block may be. A single record may be larger."""

    bytes: int
    events: int


FOUNDING = b'"founding":true'
HEAD = 300
"""Bytes of a record within which its link stands."""


def is_founding(value: bytes) -> bool:
    """Tell whether a record may found an epoch, at a glance.

    The first record of a log begins it, and that is not always the one at offset 0: what a log held may have been
    deleted, all of it, before a new epoch was founded. The caller has to ask where the log begins.
    """
    return FOUNDING in value[:HEAD]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record of the log that waits for its block."""

    offset: int
    record: Record | None
    """``None`` where it does not count."""
    before: Position
    after: Position
    events: int
    size: int


class PartitionReader:
    """Follows the chain of one partition and cuts it into blocks.

    Blocks are disjoint, in order, and together hold every record that counts. A block that was begun before is cut
    first, with exactly the same bounds, whatever the limits are now.
    """

    def __init__(self, partition: int, position: Position, limits: Limits) -> None:
        self.partition = partition
        self.expected = position.offset
        """The next offset of the log."""
        self.waiting_bytes = 0
        self.waiting_events = 0
        self.ignored = 0
        """Records so far that do not count."""
        self.end = position.offset
        """The end of the log as the caller last heard of it; only for telling the lag."""
        self.begin = 0
        """The first offset that the log holds, as the caller last heard of it: see `is_founding`."""
        self.is_astray = False
        """So many records do not count that this may be another log: it is to be read from its beginning, once."""
        self._limits = limits
        self._chain = position.chain()
        self._known = position.known
        self._delivered = position
        self._intent = position.intent
        self._entries: deque[_Entry] = deque()
        self._holes: list[Bounds] = []
        self._strays = 0
        self._looked_back = False
        self.unreadable = 0
        """Records so far that are none of todoke's."""
        self._unreadable: Bounds | None = None
        """Of those that stand directly before the next record."""
        self.trouble: str | None = None
        """Why nothing that comes counts, until something does; a sentence for people."""

    @property
    def lag(self) -> int:
        """Records up to the end of the log that no block has taken."""
        return max(0, self.end - (self._entries[0].offset if self._entries else self.expected))

    @property
    def is_full(self) -> bool:
        """Tell whether a whole block waits."""
        return self.waiting_bytes >= self._limits.bytes or self.waiting_events >= self._limits.events

    def feed(self, offset: int, value: bytes) -> None:
        """Take the next record of the log.

        Raises:
            LaterFormError: a later version wrote the record; the message says where it is.
        """
        try:
            read = read_outbox(value)
        except LaterFormError as error:
            raise LaterFormError(
                f"the outbox record at partition {self.partition}, offset {offset} cannot be read: {error}. Nothing is"
                " skipped: bring the version of todoke that can read it"
            ) from error
        if read is None:
            self._pass_over(offset)
            return
        record, link = read
        if offset != self.expected:
            self._jump(offset, link)
        unreadable, self._unreadable = self._unreadable, None
        began = offset if unreadable is None or unreadable.last + 1 != offset else unreadable.first
        founds = link.founding and began <= self.begin <= offset
        if founds and link.epoch != self._chain.epoch:
            self._chain = Chain()  # nothing stands before it, whatever was read before
        before = Position.at(offset, self._chain)
        is_first = self._chain.stamp is None and offset > self.begin and not founds
        counts = self._follow(link)
        if is_first:
            self._chain.linked = False  # in the middle of a log even what founds an epoch may be a stray
        self.expected = offset + 1
        self._note_stray(link, offset, counts=counts)
        if counts:
            self.trouble = None
        elif self._misses(link):
            self._note_trouble(offset, unreadable)
        events = _events(record) if counts else 0
        size = max(len(value), sum(map(len, record.sections.values()))) if counts else 0
        after = Position.at(offset + 1, self._chain)
        self._entries.append(_Entry(offset, record if counts else None, before, after, events, size))
        self.waiting_bytes += size
        self.waiting_events += events

    def _follow(self, link: Link) -> bool:
        """Follow the chain; an epoch of which the destination has something goes on behind that."""
        counts = self._chain.follow(link)
        known = self._known.get(link.epoch) if counts and link.founding else None
        if known is None or known < link.stamp:
            return counts
        self._chain.stamp = known
        return False

    def _pass_over(self, offset: int) -> None:
        """Count a record that is none of todoke's, and have it covered by a block, unless it stands behind a hole."""
        self.unreadable += 1
        follows = self._unreadable is not None and self._unreadable.last + 1 == offset
        self._unreadable = Bounds(self._unreadable.first if self._unreadable and follows else offset, offset)
        if self.unreadable == 1:
            logger.error(
                "Outbox partition %d, offset %d: this is no record of todoke's. It is passed over, and so are others, "
                "which are only counted. Let nobody else write to this topic",
                self.partition,
                offset,
            )
        if offset == self.expected:
            self.expected = offset + 1
            here, after = Position.at(offset, self._chain), Position.at(offset + 1, self._chain)
            self._entries.append(_Entry(offset, None, here, after, 0, 0))

    def _misses(self, link: Link) -> bool:
        """Tell whether a record continues one that was never seen."""
        stamp = self._chain.stamp
        return (
            stamp is not None
            and link.epoch == self._chain.epoch
            and link.previous is not None
            and link.previous > stamp
        )

    def _note_trouble(self, offset: int, unreadable: Bounds | None) -> None:
        """Note that nothing counts any more. It is an error where something unreadable stands before it.

        Else it may pass: a worker that lost its partition leaves such records behind, and the next one answers again.
        """
        if unreadable is None and self.trouble is not None:
            return
        damaged = (
            f": the unreadable records at offsets {unreadable.first} to {unreadable.last} may have been answers that"
            " got damaged"
            if unreadable
            else ""
        )
        self.trouble = (
            f"Outbox partition {self.partition}, offset {offset}: this record continues one that is not there{damaged}."
            f" Nothing behind stamp {self._chain.stamp} is delivered until the worker answers it again: restart the"
            " workers"
        )
        if unreadable is not None:
            logger.error("%s", self.trouble)

    def _jump(self, offset: int, link: Link) -> None:
        if offset > self.expected:
            chain = self._chain
            same = link.epoch == chain.epoch
            if not (same and chain.stamp is not None and link.previous is not None and link.previous <= chain.stamp):
                self._holes.append(Bounds(self.expected, offset - 1))
            # What came in between is gone, so nothing can show any more that the first record here is no stray.
            self._chain = Chain(chain.epoch, chain.stamp) if same else Chain()
        else:
            logger.error(
                "Outbox partition %d begins again at offset %d where %d was expected: the log was cut off or made anew;"
                " what was delivered before is recognised by its stamps",
                self.partition,
                offset,
                self.expected,
            )

    def _note_stray(self, link: Link, offset: int, *, counts: bool) -> None:
        if counts:
            self._strays = 0
            return
        self.ignored += 1
        self._strays += 1
        if self._strays == STRAYS_TO_TELL:
            self.is_astray = not self._looked_back
            self._looked_back = True
            logger.error(
                "Outbox partition %d: %d records in a row up to offset %d do not continue the chain of epoch %s; the"
                " last one is of epoch %s. The log is read from its beginning again, in case that it is another one",
                self.partition,
                self._strays,
                offset,
                self._chain.epoch,
                link.epoch,
            )

    def holes(self) -> Sequence[Bounds]:
        """Give the offsets that the log no longer held, each hole once; not those that were delivered before."""
        holes, self._holes = self._holes, []
        return holes

    def cut(self) -> Block | None:
        """Cut the next block off; ``None`` where there is none, or where one that was begun is not complete yet."""
        if self._intent is not None:
            return self._cut_again(self._intent)
        return self._seal(list(self._next_entries())) if self._entries else None

    def _cut_again(self, bounds: Bounds) -> Block | None:
        """Cut a block that was begun before, with the same bounds."""
        if self.expected <= bounds.last:
            return None
        self._intent = None
        entries = []
        while self._entries and self._entries[0].offset <= bounds.last:
            entries.append(self._entries.popleft())
        return self._seal(entries, bounds)

    def _next_entries(self) -> Sequence[_Entry]:
        entries: list[_Entry] = []
        size = events = 0
        while self._entries:
            entry = self._entries[0]
            size += entry.size
            events += entry.events
            if entries and (size > self._limits.bytes or events > self._limits.events or _parts(entries[-1], entry)):
                break
            entries.append(self._entries.popleft())
        return entries

    def _seal(self, entries: Sequence[_Entry], bounds: Bounds | None = None) -> Block:
        bounds = bounds or Bounds(entries[0].offset, entries[-1].offset)
        size, events = sum(entry.size for entry in entries), sum(entry.events for entry in entries)
        self.waiting_bytes -= size
        self.waiting_events -= events
        before = entries[0].before if entries else self._delivered
        after = self._delivered = entries[-1].after if entries else replace(before, offset=bounds.last + 1, intent=None)
        return Block(
            partition=self.partition,
            bounds=bounds,
            epoch=after.epoch or "",
            records=tuple(entry.record for entry in entries if entry.record is not None),
            before=replace(before, offset=bounds.first, intent=bounds),
            after=after,
            events=events,
            size=size,
        )


def _events(record: Record) -> int:
    """Tell how many events a record has, as its header says, since counting lines would cost time for every event.

    It decides how large a block gets, and what metrics and the breaker count: nothing that has to be exact.
    """
    counts = record.header.get("counts")
    said = counts.get("unique") if isinstance(counts, dict) else None
    lines = record.section(Outbox.EVENTS)
    return said if type(said) is int and 0 < said <= len(lines) else lines.count(b"\n")


def _parts(entry: _Entry, following: _Entry) -> bool:
    """Tell whether a block must end between two records: at a new epoch, and where offsets are missing."""
    return following.after.epoch != entry.after.epoch or following.offset != entry.offset + 1
