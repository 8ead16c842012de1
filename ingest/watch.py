"""Whether Kafka is there: connects as soon as it is, and looks again and again."""

import asyncio
import logging

from ingest.publisher import Publisher
from streams.contracts.errors import ConfigurationError, PublishError

logger = logging.getLogger(__name__)


class Watch:
    """Knows whether Kafka answered when it was asked last."""

    def __init__(self, publisher: Publisher, *, every: float) -> None:
        """Describe it.

        Args:
            publisher: into Kafka.
            every: seconds between two looks.
        """
        self._publisher = publisher
        self._every = every
        self._shards: int | None = None
        self._is_connected = False
        self.is_reachable = False
        """Whether it did."""

    async def connect(self) -> int:
        """Connect, and tell how many shards the inbox has.

        Raises:
            PublishError, ConfigurationError: as the publisher; or the inbox has other shards than `assume` said.
        """
        await self._publisher.start()
        shards = self._publisher.shards
        if self._shards not in {None, shards}:
            raise ConfigurationError(
                f"the inbox has {shards} partitions, and had {self._shards} when the journal saw it last: start again"
            )
        self._is_connected = self.is_reachable = True
        return shards

    def assume(self, shards: int) -> None:
        """Go on without a connection; it is made as soon as Kafka is there."""
        self._shards = shards

    async def keep_looking(self) -> None:
        """Look again and again, for ever; logs changes.

        Raises:
            ConfigurationError: as `connect`.
        """
        while True:
            await asyncio.sleep(self._every)
            was_reachable = self.is_reachable
            self.is_reachable = await self._look()
            if self.is_reachable and not was_reachable:
                logger.info("Kafka answers")
            elif was_reachable and not self.is_reachable:
                logger.warning("Kafka does not answer: posts are answered 503 until it does, or kept in the journal")

    async def _look(self) -> bool:
        if self._is_connected:
            return await self._publisher.is_reachable()
        try:
            await self.connect()
        except PublishError:
            return False
        return True
