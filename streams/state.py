"""What a worker knows of one partition: nothing but what its outbox records say, applied one after the other."""

from collections.abc import Collection
from datetime import datetime

import msgspec

from streams import suppression
from streams.ahead import AHEAD, Ahead
from streams.contracts.chain import Chain, Link
from streams.contracts.codec import Record, lines_of
from streams.contracts.sections import Outbox, Seen, lifecycle_key
from streams.recent import Recent

SECONDS_PER_HOUR = 3600
TIME = "time"
"""Key of an outbox record's header: the time of the inbox record that it answers."""

BEGINNING = "1970-01-01T00:00:00.000Z"
"""The time of a log in which nothing has been answered: earlier than any inbox record."""

_seen = msgspec.json.Decoder(Seen)


class PartitionState:
    """Lifecycles as the lines they are in the outbox, the events that belong to none, suppressions, and the chain.

    Loading a partition and working on it both go through `apply` and nothing else changes the state, so a worker that
    loaded it knows exactly what the worker knew that wrote it.
    """

    def __init__(self, horizon_hours: int) -> None:
        self.chain = Chain()
        self.time: str | None = None
        """The time of the last inbox record that was answered."""
        self._ahead = Ahead()
        self._lifecycles: Recent[bytes] = Recent(horizon_hours)
        self._suppressions: Recent[bytes] = Recent(horizon_hours)
        self._seen: Recent[bool] = Recent(horizon_hours)

    def apply(self, record: Record, keys: Collection[str] | None = None) -> bool:
        """Take the next record of the outbox into account; tell whether it counts.

        Args:
            record: the record.
            keys: of its lifecycles, in the order of their lines, from whoever just wrote them; ``None`` has them read
                from the lines.
        """
        lifecycles = record.section(Outbox.LIFECYCLES)
        ahead = record.header.get(AHEAD, {})
        if "records" in ahead:
            # Where reading began in the middle of the log, what it has not seen is older than the horizon.
            found = self._ahead.of(ahead, may_begin_later=not self.chain.linked)
            if found is None:
                # Something of it is damaged. Nothing that follows continues the chain then, so it is answered again.
                # But where the chain is not linked yet, it goes on behind it: there what it says is not known, like
                # what stands before the place where reading began.
                return False
            lifecycles = found
        link = Link.of(record.header)
        if not self.chain.follow(link):
            return False
        if "number" in ahead:
            self._ahead.keep(ahead, lifecycles)
            lifecycles = b""
        if link.previous != link.stamp:
            self._ahead.clear()
        self._learn(record, lifecycles, keys)
        return True

    def _learn(self, record: Record, lifecycles: bytes, keys: Collection[str] | None) -> None:
        self.time = record.header[TIME]
        hour = hours(self.time)
        for table in (self._lifecycles, self._suppressions, self._seen):
            table.advance(hour)
        lines = lines_of(lifecycles)
        if keys is None:
            keys = [lifecycle_key(line).decode() for line in lines]
        for key, line in zip(keys, lines, strict=True):
            self._lifecycles.put(key, line)
        for line in lines_of(record.section(Outbox.SUPPRESSIONS)):
            self._suppressions.put(suppression.key(suppression.parse(line)), line)
        for seen in _seen.decode_lines(record.section(Outbox.SEEN)):
            self._seen.put(seen["id"], value=True)

    def lifecycle(self, key: str) -> bytes | None:
        """Give the line of a lifecycle by `streams.lifecycle.key`, or ``None`` if none is open."""
        return self._lifecycles.get(key)

    def suppression(self, key: str) -> bytes | None:
        """Give the line of a suppression by `streams.suppression.key`, or ``None`` if nothing is known."""
        return self._suppressions.get(key)

    def has_seen(self, event_id: str) -> bool:
        """Tell whether an event that belongs to no lifecycle was there before."""
        return event_id in self._seen

    @property
    def open_lifecycles(self) -> int:
        """How many lifecycles are held."""
        return len(self._lifecycles)


def hours(at: str) -> int:
    """Count the hours since 1970 of a time in the form of `streams.contracts.clock.rfc3339`."""
    return int(datetime.fromisoformat(at).timestamp()) // SECONDS_PER_HOUR
