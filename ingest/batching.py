"""When a chunk closes. Pure: knows neither asyncio nor Kafka, and is told the time.

Group commit: while nothing of a shard is under way, what comes is sent at once, so that a post alone never waits. While
something is under way, others gather behind it, so that the more comes, the larger the chunks get by themselves.
"""

from collections import deque

from ingest.packing import HEADER_ROOM, Piece

NEVER = float("inf")


class Gathering:
    """The pieces of one shard that wait to be sent, in the order in which they came.

    Pieces of several sources share chunks; a chunk keeps the strictest of their limits.
    """

    def __init__(self, *, max_in_flight: int) -> None:
        """Begin empty.

        Args:
            max_in_flight: chunks of the shard that may be under way at a time.
        """
        self._max_in_flight = max_in_flight
        self._pieces: deque[tuple[Piece, float]] = deque()  # with the time until which it may wait
        self._events = 0
        self._bytes = HEADER_ROOM
        self._max_events = NEVER
        self._max_bytes = NEVER
        self.closes_at = NEVER
        """When the piece that may wait least has waited long enough, in seconds of a monotonic clock."""

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, piece: Piece, now: float) -> None:
        """Put a piece behind the others.

        Args:
            piece: no larger than a chunk.
            now: seconds of a monotonic clock.
        """
        self._count(piece, now + piece.batching.interval)

    def _count(self, piece: Piece, until: float) -> None:
        self._pieces.append((piece, until))
        self._events += piece.events
        self._bytes += piece.size
        self._max_events = min(self._max_events, piece.batching.max_events)
        self._max_bytes = min(self._max_bytes, piece.batching.max_bytes)
        self.closes_at = min(self.closes_at, until)

    def is_due(self, *, in_flight: int, now: float) -> bool:
        """Tell whether a chunk is to be sent now.

        Args:
            in_flight: chunks of this shard that are under way.
            now: seconds of a monotonic clock.
        """
        if not self._pieces or in_flight >= self._max_in_flight:
            return False
        if in_flight == 0:
            return True
        return self._events >= self._max_events or self._bytes >= self._max_bytes or now >= self.closes_at

    def take(self) -> list[Piece]:
        """Take the first pieces off, as many as one chunk may hold, at least one."""
        taken = [self._pieces.popleft()[0]]
        batching = taken[0].batching
        max_events, max_bytes = batching.max_events, batching.max_bytes
        events, size = taken[0].events, HEADER_ROOM + taken[0].size
        while self._pieces:
            piece, _ = self._pieces[0]
            events += piece.events
            size += piece.size
            max_events = min(max_events, piece.batching.max_events)
            max_bytes = min(max_bytes, piece.batching.max_bytes)
            if events > max_events or size > max_bytes:
                break
            taken.append(self._pieces.popleft()[0])
        remaining, self._pieces = self._pieces, deque()
        self._events, self._bytes = 0, HEADER_ROOM
        self._max_events = self._max_bytes = self.closes_at = NEVER
        for piece, until in remaining:
            self._count(piece, until)
        return taken
