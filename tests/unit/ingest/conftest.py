from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from ingest.harvest import Context
from ingest.posts import Post
from ingest.publisher import MemoryPublisher
from ingest.settings import SourceSettings

RECEIVED_AT = "2026-03-02T00:00:00.000Z"

MakePost = Callable[[], Post]


@pytest.fixture
def context() -> Context:
    """What the events of one post share."""
    return Context(
        source="cmc",
        provider="customers-mail-cloud",
        zone=SourceSettings().zone,
        receipt="0" * 32,
        received_at=RECEIVED_AT,
        max_events=100_000,
    )


@pytest.fixture
def make_post() -> MakePost:
    """Makes posts with receipts that count up."""
    made: list[Post] = []

    def make() -> Post:
        post = Post(receipt=f"{len(made):032x}", source="cmc", received_at=RECEIVED_AT, on_settled=lambda: None)
        made.append(post)
        return post

    return make


@pytest_asyncio.fixture
async def publisher() -> AsyncIterator[MemoryPublisher]:
    """Four shards in memory."""
    made = MemoryPublisher(shards=4)
    yield made
    made.release()
