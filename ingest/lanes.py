"""A lane for each shard: gathers pieces, sends them as chunks, tells the posts."""

import asyncio
import logging

from ingest.batching import NEVER, Gathering
from ingest.metrics import IngestMetrics
from ingest.packing import Piece, chunk
from ingest.publisher import Publisher
from streams.contracts.clock import Clock
from streams.contracts.errors import PublishError

logger = logging.getLogger(__name__)


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
        self._next_look: asyncio.Handle | None = None
        self._looks_soon = False

    def put(self, piece: Piece) -> None:
        """Take a piece; its post is told what becomes of it."""
        self._gathering.add(piece, self._clock.monotonic())
        self._look_soon()

    def _look_soon(self) -> None:
        """Look in a moment, so that posts which were read in the same round of the event loop share a chunk."""
        if not self._looks_soon:
            if self._next_look is not None:
                self._next_look.cancel()
            self._looks_soon = True
            self._next_look = asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Send what is due, and look again when the next might be."""
        self._looks_soon = False
        now = self._clock.monotonic()
        while self._gathering.is_due(in_flight=len(self._under_way), now=now):
            pieces = [piece for piece in self._gathering.take() if not self._is_moot(piece)]
            if pieces:
                for piece in pieces:
                    piece.post.is_sent = True
                task = asyncio.get_running_loop().create_task(self._send(pieces))
                self._under_way.add(task)
                task.add_done_callback(self._landed)
        closes_at = self._gathering.closes_at
        if now < closes_at < NEVER:
            self._next_look = asyncio.get_running_loop().call_later(closes_at - now, self._look)

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
        try:
            await self._publisher.publish(self._shard, chunk(pieces))
        except PublishError as error:
            self._give_up(pieces, error)
        except Exception:
            logger.exception("a chunk of shard %d met a mistake in todoke; its senders repeat their posts", self._shard)
            self._give_up(pieces, PublishError("a mistake in todoke"))
        else:
            self._metrics.chunk_stored(sum(piece.events for piece in pieces))
            for piece in pieces:
                piece.post.acknowledge()

    def _give_up(self, pieces: list[Piece], error: PublishError) -> None:
        self._metrics.chunk_failed()
        for piece in pieces:
            piece.post.give_up(error)
