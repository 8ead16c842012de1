"""A lane for each shard: gathers pieces, sends them as chunks, tells the posts."""

import asyncio

from ingest.batching import NEVER, Gathering
from ingest.metrics import IngestMetrics
from ingest.packing import Piece, chunk
from ingest.publisher import Publisher
from streams.contracts.clock import Clock
from streams.contracts.errors import PublishError


class Lane:
    """The way of one shard's pieces into Kafka, some chunks at a time."""

    def __init__(
        self, shard: int, publisher: Publisher, *, max_in_flight: int, clock: Clock, metrics: IngestMetrics
    ) -> None:
        self._shard = shard
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._gathering = Gathering(max_in_flight=max_in_flight)
        self._under_way: set[asyncio.Task[None]] = set()
        self._look_again: asyncio.Handle | None = None
        self._looks_at = NEVER

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing waits and nothing is under way."""
        return not self._gathering and not self._under_way

    def put(self, piece: Piece) -> None:
        """Take a piece; its post is told what becomes of it."""
        self._gathering.add(piece, self._clock.monotonic())
        self._look_soon()

    def _look_soon(self) -> None:
        """Look in a moment, so that posts which were read in the same round of the event loop share a chunk."""
        if self._looks_at != 0:
            self._cancel_look()
            self._looks_at = 0
            self._look_again = asyncio.get_running_loop().call_soon(self._look)

    def _cancel_look(self) -> None:
        if self._look_again is not None:
            self._look_again.cancel()

    def _look(self) -> None:
        """Send what is due, and look again when the next might be."""
        self._looks_at = NEVER
        now = self._clock.monotonic()
        while self._gathering.is_due(in_flight=len(self._under_way), now=now):
            pieces = [piece for piece in self._gathering.take(now) if not self._is_moot(piece)]
            if pieces:
                task = asyncio.get_running_loop().create_task(self._send(pieces))
                self._under_way.add(task)
                task.add_done_callback(self._landed)
        closes_at = self._gathering.closes_at
        if closes_at not in (NEVER, self._looks_at) and closes_at > now:
            self._looks_at = closes_at
            self._look_again = asyncio.get_running_loop().call_later(closes_at - now, self._look)

    def _is_moot(self, piece: Piece) -> bool:
        """Drop a piece whose sender was told to post again: sending it too would only burden who is slow already."""
        if piece.post.abandoned:
            piece.post.give_up(PublishError("abandoned"))
            return True
        return False

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._look_soon()

    async def _send(self, pieces: list[Piece]) -> None:
        value = chunk(pieces)
        try:
            await self._publisher.publish(self._shard, value)
        except PublishError as error:
            self._metrics.chunk_failed()
            for piece in pieces:
                piece.post.give_up(error)
        else:
            self._metrics.chunk_stored(sum(piece.events for piece in pieces))
            for piece in pieces:
                piece.post.acknowledge()
