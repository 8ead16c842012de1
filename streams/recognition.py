"""Is the inbox the one that a log, or the archive, has answers to? It may have been deleted and made anew."""

import msgspec

from streams.archive import Archive
from streams.contracts.codec import decode
from streams.contracts.errors import FormError
from streams.contracts.sections import Inbox
from streams.contracts.topics import CHUNK_LIMIT
from streams.inbox import entered_at
from streams.log import Extent
from streams.state import PartitionState
from streams.surroundings import Surroundings

RECORDS = 20
"""Inbox records that are looked at first for receipts; ten times as many, and so on, while there are none: for hours a
shard may have nothing but notes of which posts were answered."""

RECEIPTS = 1000
"""Receipts that the archive is asked for at most."""


class _Receipt(msgspec.Struct, gc=False):
    receipt: str


_receipts = msgspec.json.Decoder(_Receipt)


class Recognition:
    """What the inbox of one shard is known by."""

    def __init__(self, number: int, surroundings: Surroundings) -> None:
        self._number = number
        self._log = surroundings.log
        self._topic = surroundings.topics.inbox.name

    async def is_other_inbox(self, state: PartitionState, inbox: Extent) -> bool:
        """Tell whether the inbox was made anew since the last answer, even if it has grown beyond that place.

        The last answer carries the time at which its inbox record entered the log, to the millisecond: another one at
        the same offset has another time. Where retention took that record, nothing is to be seen; but what was made
        anew begins at 0.
        """
        stamp = state.chain.stamp
        if stamp is None:
            return False
        if inbox.end <= stamp:
            return True
        return stamp >= inbox.begin and await self.entered(stamp) != state.time

    async def entered(self, offset: int) -> str | None:
        """Tell when an inbox record entered the log; ``None`` where there is no record with this offset."""
        if offset < 0:
            return None
        async for record in self._log.read(self._topic, self._number, offset, offset + 1):
            return entered_at(record.timestamp / 1000)
        return None

    async def is_known(self, archive: Archive, inbox: Extent, stamp: int) -> bool:
        """Tell whether the archive knows what the inbox holds up to an offset, by the latest receipts there."""
        if not inbox.begin <= stamp < inbox.end:
            return False
        names: set[str] = set()
        end, records = stamp + 1, RECORDS
        while not names and end > inbox.begin:
            begin = max(inbox.begin, end - records)
            names = await self._receipts(begin, end)
            end, records = begin, records * 10
        return bool(names) and await archive.knows_receipts(names)

    async def _receipts(self, begin: int, end: int) -> set[str]:
        names: set[str] = set()
        async for record in self._log.read(self._topic, self._number, begin, end):
            try:
                section = decode(record.value or b"", CHUNK_LIMIT).section(Inbox.RECEIPTS)
                names.update(part.receipt for part in _receipts.decode_lines(section))
            except (FormError, msgspec.DecodeError):
                continue  # it went to the dead letters, and tells no receipt
            if len(names) >= RECEIPTS:
                break
        return names
