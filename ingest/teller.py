"""Telling in the log which posts were answered, see `streams.contracts.receipts`."""

import asyncio
import logging
from collections.abc import Mapping

import orjson

from ingest.publisher import Publisher
from ingest.settings import Durability
from ingest.ways import Way
from streams.contracts import codec
from streams.contracts.clock import Clock, rfc3339
from streams.contracts.errors import PublishError
from streams.contracts.sections import Answered, Inbox

logger = logging.getLogger(__name__)


class Teller:
    """Collects the notes of all ways, and stores them in the inbox."""

    def __init__(self, publisher: Publisher, ways: Mapping[Durability, Way], *, clock: Clock) -> None:
        """Describe it.

        Args:
            publisher: into the inbox.
            ways: whose posts it tells of; may be filled later.
            clock: tells the time.
        """
        self._publisher = publisher
        self._ways = ways
        self._clock = clock

    @property
    def has_told_all(self) -> bool:
        """Tell whether there is nothing to be told just now."""
        return not any(way.notes() for way in self._ways.values())

    async def tell(self) -> None:
        """Tell which posts were decided since it was told last; returns once that is durable.

        Raises:
            PublishError: as the publisher.
        """
        for way in self._ways.values():
            for note in way.notes():
                await self._store(note)
                way.told(note)

    async def _store(self, note: Answered) -> None:
        line = orjson.dumps(note, option=orjson.OPT_APPEND_NEWLINE)
        value = codec.encode({"received_at": rfc3339(self._clock.now())}, {Inbox.ANSWERED: line})
        shards = self._publisher.shards or 1  # none are known before Kafka was there, and the note is refused then
        await self._publisher.publish(int(note["instance"][:8], 16) % shards, value)

    async def keep_telling(self, every: float) -> None:
        """Tell it again and again, for ever.

        Args:
            every: seconds between two times.
        """
        while True:
            await asyncio.sleep(every)
            try:
                await self.tell()
            except PublishError as error:
                logger.debug("which posts were answered could not be told, it will be next time: %s", error)
