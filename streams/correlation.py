"""The fold: what one chunk of events adds to what is known, and what to tell of it. Pure: bytes in, bytes out."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from streams import lifecycle, suppression
from streams.books import balance
from streams.contracts.codec import Record, lines_of
from streams.contracts.dead_letter import Reason
from streams.contracts.events import LIFECYCLE_TYPES, SUPPRESSION_TYPES
from streams.contracts.sections import Inbox, Outbox, Seen
from streams.lifecycle import Event, Lifecycle
from streams.outcome import Counts, Outcome, lines
from streams.quarantine import Quarantine
from streams.suppression import Suppression


class Known(Protocol):
    """What was known before the chunk. Answers at once, raises nothing, and does not change meanwhile."""

    def lifecycle(self, key: str) -> bytes | None:
        """Give the line of a lifecycle by `streams.lifecycle.key`."""
        ...

    def suppression(self, key: str) -> bytes | None:
        """Give the line of a suppression by `streams.suppression.key`."""
        ...

    def has_seen(self, event_id: str) -> bool:
        """Tell whether an event that belongs to no lifecycle was there before."""
        ...


_events = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()

_NO_EVENT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading a line raises; the last of one that is nested beyond measure."""


def correlate(chunk: Record, known: Known, quarantine: Quarantine) -> Outcome:
    """Fold a chunk into what is known, and tell what is new, what changed, and what became of each receipt."""
    section = chunk.section(Inbox.EVENTS)
    fold = _Fold(known)
    unreadable = fold.absorb_all(section)
    letters = [
        quarantine.letter(line, Reason.CHUNK_UNREADABLE, f"a line of the chunk is not an event: {error}", number=number)
        for number, (line, error) in enumerate(unreadable)
    ]
    unique, duplicates = fold.unique_by_receipt, fold.duplicates_by_receipt
    record = quarantine.record
    receipts = balance(
        chunk.section(Inbox.RECEIPTS), shard=record.shard, offset=record.offset, unique=unique, duplicates=duplicates
    )
    counts = Counts(
        events=sum(unique.values()) + sum(duplicates.values()) + len(unreadable),
        unique=sum(unique.values()),
        duplicates=sum(duplicates.values()),
        dead_letters=sum(receipt["dead_lettered"] for receipt in receipts),
        diverted=len(unreadable),
        lifecycles=len(fold.changed),
    )
    sections: dict[str, bytes] = {
        Outbox.EVENTS: fold.unique_lines(section),
        Outbox.LIFECYCLES: lifecycle.render_all(list(fold.changed.values())),
        Outbox.SEEN: _encoder.encode_lines([Seen(id=id_, received_at=quarantine.record.at) for id_ in fold.seen]),
        Outbox.SUPPRESSIONS: lines([suppression.render(latest) for latest in fold.suppressed.values()]),
        Outbox.RECEIPTS: _encoder.encode_lines(receipts),
        Outbox.DEAD_LETTERS: chunk.section(Inbox.DEAD_LETTERS) + b"".join(letters),
        Outbox.ANSWERED: chunk.section(Inbox.ANSWERED),
    }
    return Outcome(sections=sections, counts=counts, keys=list(fold.changed))


class _Fold:
    """One chunk's way through `Lifecycle.absorb`: everything it touches, decoded once."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._open: dict[str, Lifecycle] = {}
        self._not_new: set[int] = set()
        self.changed: dict[str, Lifecycle] = {}
        self.seen: dict[str, None] = {}
        self.suppressed: dict[str, Suppression] = {}
        self.unique_by_receipt: dict[str, int] = {}
        self.duplicates_by_receipt: dict[str, int] = {}

    def absorb_all(self, section: bytes) -> list[tuple[bytes, str]]:
        """Absorb every event of the section; give the lines that are none, with what is wrong with each."""
        try:
            events: Sequence[Event | None] = _events.decode_lines(section)
            unreadable: list[tuple[bytes, str]] = []
        except _NO_EVENT:
            events, unreadable = _read_one_by_one(section)
        for number, event in enumerate(events):
            if event is None:
                self._not_new.add(number)
                continue
            if self._absorb(event):
                receipts = self.unique_by_receipt
            else:
                receipts = self.duplicates_by_receipt
                self._not_new.add(number)
            receipts[event.receipt] = receipts.get(event.receipt, 0) + 1
        return unreadable

    def _absorb(self, event: Event) -> bool:
        """Take in one event; tell whether it was new."""
        if not event.message_id or event.type not in LIFECYCLE_TYPES:
            return self._note(event)
        key = lifecycle.key(event.source, event.message_id, event.recipient)
        mail = self._open.get(key)
        if mail is None:
            line = self._known.lifecycle(key)
            if line is None:
                self._open[key] = self.changed[key] = lifecycle.begin(event)
                return True
            self._open[key] = mail = lifecycle.parse(line)
        if not mail.absorb(event):
            return False
        self.changed[key] = mail
        return True

    def _note(self, event: Event) -> bool:
        """Take in one event that belongs to no lifecycle; tell whether it was new."""
        if event.id in self.seen or self._known.has_seen(event.id):
            return False
        self.seen[event.id] = None
        if event.type in SUPPRESSION_TYPES and event.recipient:
            self._suppress(suppression.told_by(event))
        return True

    def _suppress(self, told: Suppression) -> None:
        key = suppression.key(told)
        latest = self.suppressed.get(key)
        if latest is None and (line := self._known.suppression(key)) is not None:
            latest = suppression.parse(line)
        if latest is None or latest.precedes(told):
            self.suppressed[key] = told

    def unique_lines(self, section: bytes) -> bytes:
        """Cut what is no new event out of the section that was absorbed; mostly that is nothing."""
        if not self._not_new:
            return section
        return lines([line for number, line in enumerate(lines_of(section)) if number not in self._not_new])


def _read_one_by_one(section: bytes) -> tuple[list[Event | None], list[tuple[bytes, str]]]:
    """Read a section that has unreadable lines: for each line its event or ``None``, and the unreadable ones."""
    events: list[Event | None] = []
    unreadable: list[tuple[bytes, str]] = []
    for line in lines_of(section):
        try:
            events.append(_events.decode(line))
        except _NO_EVENT as error:
            events.append(None)
            unreadable.append((line, str(error)))
    return events, unreadable
