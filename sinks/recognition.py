"""How far an outbox partition was published, told by what the public topics have of it. Pure: values in, values out.

Blocks are published whole and in order, so everything up to the last outbox record of which something is found there
was published. Events and dead letters tell: a record with neither tells at most lifecycles and suppressions that were
told before, the same again under their keys.

An event is known by its whole line, since the same event may come again after the horizon, in another post. The same
dead letter may stand in the outbox twice, where ingest wrote a chunk twice. So what was published counts as often as it
was, from the first on: in doubt something is published again, and nothing is left out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b

from sinks import publication
from sinks.position import Position
from sinks.publication import Publication
from sinks.sifting import UNPUBLISHABLE, letters
from streams.contracts.codec import Record, lines_of
from streams.contracts.sections import Outbox, event_id

Identity = tuple[bytes, ...]
"""What a published record is known by."""

NAMES = ("receipt", "number", "part", "topic", "partition", "offset")
"""Headers of a dead letter that say which one it is; the others may be another version's."""

PUBLIC = (Outbox.EVENTS, Outbox.LIFECYCLES, Outbox.SUPPRESSIONS, Outbox.DEAD_LETTERS)


def event_identity(value: bytes) -> Identity:
    """Tell what an event is known by."""
    return event_id(value), _digest(value)


def letter_identity(value: bytes, headers: Iterable[tuple[str, bytes | None]]) -> Identity:
    """Tell what a dead letter is known by."""
    known = dict(headers)
    return (*(known.get(name) or b"" for name in NAMES), _digest(value))


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()


class Recognition:
    """Finds the position behind what was published of one outbox partition."""

    def __init__(
        self, partition: int, inbox: str, events: Iterable[Identity], dead_letters: Iterable[Identity]
    ) -> None:
        """Prepare to look.

        Args:
            partition: of the outbox.
            inbox: the topic that lines which could not be published name as their origin.
            events: that were published last, also those of other partitions.
            dead_letters: the same.
        """
        self.position: Position | None = None
        """Behind the last record that was recognised; ``None`` where none was."""
        self._partition = partition
        self._inbox = inbox
        events, dead_letters = list(events), list(dead_letters)
        self._left = Counter([*events, *dead_letters])
        self._ids = {identity[0] for identity in events}
        self._has_letters = bool(dead_letters)
        # Such a letter has no receipt; its offset is the stamp of the record.
        self._sifted = {identity[NAMES.index("offset")] for identity in dead_letters if not identity[0]}

    def take(self, record: Record, after: Position) -> None:
        """Look at the next record that counts; ``after`` is the position behind it."""
        found = 0
        for identity in self._identities(record):
            if self._left[identity]:
                self._left[identity] -= 1
                found += 1
        if found:
            self.position = after

    def _identities(self, record: Record) -> Iterator[Identity]:
        for line in lines_of(record.section(Outbox.EVENTS)):
            if event_id(line) in self._ids:
                yield event_identity(line)
        if self._has_letters:
            for _, value, headers in self._letters(record):
                yield letter_identity(value or b"", headers)

    def _letters(self, record: Record) -> Iterator[Publication]:
        """Give the dead letters that a record has, and those that `sinks.sifting` would have made of it."""
        for line in lines_of(record.section(Outbox.DEAD_LETTERS)):
            with suppress(*UNPUBLISHABLE):  # else it was sifted out itself
                yield from publication.dead_letters(Record(record.header, {Outbox.DEAD_LETTERS: line}))
        stamp = record.header["stamp"]
        if b"%d" % stamp in self._sifted:
            for section in PUBLIC:
                for number, line in enumerate(record.section(section).splitlines()):
                    origin = {"topic": self._inbox, "partition": self._partition, "offset": stamp}
                    yield from letters(line, {"number": number, **origin})
