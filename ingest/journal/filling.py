"""Which chunk of the journal a piece goes into, and when a chunk is complete. Pure: is told the time."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ingest.batching import NEVER
from ingest.journal.entries import Entry
from ingest.packing import HEADER_ROOM, Piece, chunk
from streams.contracts import codec
from streams.contracts.receipts import SEQUENCE_DIGITS


@dataclass(kw_only=True, slots=True)
class _Open:
    """A chunk that more may be added to."""

    number: int
    closes_at: float = NEVER
    events: int = 0
    size: int = HEADER_ROOM
    max_events: float = NEVER
    max_bytes: float = NEVER

    def holds(self, piece: Piece) -> bool:
        """Tell whether a piece has room in it. Pieces of several sources keep the strictest of their limits."""
        return self.events + piece.events <= min(
            self.max_events, piece.batching.max_events
        ) and self.size + piece.size <= min(self.max_bytes, piece.batching.max_bytes)

    def add(self, piece: Piece, now: float) -> None:
        self.events += piece.events
        self.size += piece.size
        self.max_events = min(self.max_events, piece.batching.max_events)
        self.max_bytes = min(self.max_bytes, piece.batching.max_bytes)
        self.closes_at = min(self.closes_at, now + piece.batching.interval)

    @property
    def is_full(self) -> bool:
        return self.events >= self.max_events or self.size >= self.max_bytes


class Filling:
    """The open chunk of each shard. Unlike on the direct way nobody waits for it: it stays open for its interval.

    It stays open for longer while its shard is busy with the chunks before it, since a chunk more would not be sent any
    sooner: so a long outage ends with few large chunks.
    """

    def __init__(self, first: int) -> None:
        """Begin with nothing open.

        Args:
            first: number of the next chunk.
        """
        self._next = first
        self._open: dict[int, _Open] = {}
        self._complete: list[int] = []

    def place(self, piece: Piece, now: float) -> int:
        """Give the number of the chunk that a piece goes into.

        Args:
            piece: no larger than a chunk.
            now: seconds of a monotonic clock.
        """
        chunk = self._open.get(piece.shard)
        if chunk is not None and not chunk.holds(piece):
            self._close(piece.shard)
            chunk = None
        if chunk is None:
            chunk = self._open[piece.shard] = _Open(number=self._next)
            self._next += 1
        chunk.add(piece, now)
        return chunk.number

    def sort(self, pieces: Iterable[Piece], now: float) -> dict[int, list[Piece]]:
        """Place pieces, and give them by the number of their chunk."""
        by_chunk: dict[int, list[Piece]] = {}
        for piece in pieces:
            by_chunk.setdefault(self.place(piece, now), []).append(piece)
        return by_chunk

    def _close(self, shard: int) -> None:
        self._complete.append(self._open.pop(shard).number)

    def complete(self, now: float, is_busy: Callable[[int], bool]) -> list[int]:
        """Give the numbers of chunks that nothing will be added to any more, and that were not given before.

        Args:
            now: seconds of a monotonic clock; `NEVER` completes all.
            is_busy: tells whether a shard has chunks that are not sent.
        """
        due = [
            shard
            for shard, chunk in self._open.items()
            if chunk.is_full or now == NEVER or (now >= chunk.closes_at and not is_busy(shard))
        ]
        for shard in due:
            self._close(shard)
        complete, self._complete = self._complete, []
        return complete

    def next_due(self, is_busy: Callable[[int], bool]) -> float:
        """Tell when a chunk will be complete if nothing comes any more."""
        return min((chunk.closes_at for shard, chunk in self._open.items() if not is_busy(shard)), default=NEVER)


def written(by_chunk: Mapping[int, Sequence[Piece]], *, run: int, at: int) -> list[Entry]:
    """Write what one commit adds to each chunk.

    Args:
        by_chunk: pieces by the number of their chunk, in the order of their posts.
        run: the run of ingest that accepted them.
        at: when, in milliseconds since 1970.
    """
    return [
        Entry(
            chunk=number,
            shard=pieces[0].shard,
            run=run,
            first_post=_number(pieces[0]),
            last_post=_number(pieces[-1]),
            posts=sum(piece.number == 0 for piece in pieces),
            accepted_at=at,
            content=chunk(pieces),
        )
        for number, pieces in by_chunk.items()
    ]


def _number(piece: Piece) -> int:
    """Give the number that a piece's post has in its receipt."""
    return int(piece.post.receipt[-SEQUENCE_DIGITS:], 16)


def joined(records: Sequence[bytes]) -> bytes:
    """Make one record for the inbox of several of one shard, one after the other."""
    if len(records) == 1:
        return records[0]
    taken = [codec.decode(record) for record in records]
    names = dict.fromkeys(name for record in taken for name in record.sections)
    return codec.encode(
        {"received_at": max(record.header["received_at"] for record in taken)},
        {name: b"".join([record.section(name) for record in taken]) for name in names},
    )
