"""The seam to where history is kept beyond Kafka: what a worker asks when the log of a shard is empty."""

from collections.abc import AsyncIterator, Collection
from typing import Protocol


class Archive(Protocol):
    """Where every unique event was carried to.

    Its methods may raise a `streams.contracts.errors.TodokeError`: one that is ``retriable`` has the worker ask again
    later, any other one ends it. It answers for one shard at a time, several shards may ask at once.
    """

    async def newest(self, shard: int, shards: int) -> str | None:
        """Tell when the latest event of a shard was received; ``None`` where there is no event of it.

        Args:
            shard: as `streams.contracts.sharding.shard` tells,
            shards: of so many.
        """
        ...

    def history(self, shard: int, shards: int, since: str) -> AsyncIterator[bytes]:
        """Give a shard's events in the form of `streams.contracts.events.Event`, as lines, some thousand at a time.

        All events of each lifecycle that has one which was received after ``since``, however old they are; those that
        belong to no lifecycle since then; and whatever was ever said of an address (blocked, unblocked). In any order.
        More than that does no harm. It ends when everything was given, and never before: what is cut short raises.
        """
        ...

    async def answered(self, shard: int) -> int | None:
        """Tell the inbox offset of the last answer that was carried here; ``None`` where there was none."""
        ...

    async def knows_receipts(self, receipts: Collection[str]) -> bool:
        """Tell whether any of these posts was heard of here."""
        ...
