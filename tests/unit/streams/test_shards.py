"""The partitions of a worker, as they come and go."""

import asyncio
from typing import cast

from streams.shard import Shard
from streams.shards import Shards
from streams.surroundings import Surroundings

WITHIN = 10.0
"""Seconds until a test gives up."""


class Leaving:
    """A shard that is closed only once all the others are being closed as well."""

    def __init__(self, all_of_them: asyncio.Barrier) -> None:
        self._all = all_of_them

    async def close(self) -> None:
        await self._all.wait()


async def test_partitions_that_go_are_let_go_of_together() -> None:
    """The whole group waits for it."""
    shards, barrier = Shards(), asyncio.Barrier(3)
    shards._shards = {number: cast("Shard", Leaving(barrier)) for number in range(3)}

    async with asyncio.timeout(WITHIN):
        await shards.assign([], cast("Surroundings", None))

    assert shards.ready
    assert shards.report() == {}
