"""Group commit, against a publisher that acknowledges when it is told to."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from ingest.lanes import Lane
from ingest.metrics import IngestMetrics
from ingest.packing import Piece
from ingest.posts import Post
from ingest.publisher import MemoryPublisher
from ingest.settings import Batching
from streams.contracts.clock import SystemClock
from streams.contracts.codec import decode
from streams.contracts.errors import PublishError
from tests.eventually import eventually
from tests.unit.ingest.conftest import MakePost

PATIENT = Batching(interval=60.0, max_events=100)


def lane(publisher: MemoryPublisher) -> Lane:
    return Lane(
        0, publisher, max_in_flight=2, clock=SystemClock(), metrics=IngestMetrics(CollectorRegistry(auto_describe=True))
    )


def put(into: Lane, post: Post, events: int = 1, batching: Batching = PATIENT) -> asyncio.Future[None]:
    post.accepted = events
    durable = post.expect(1)
    lines = b"".join(b'{"number":%d}\n' % number for number in range(events))
    into.put(Piece(shard=0, post=post, batching=batching, events=events, event_lines=lines))
    return durable


async def begun(publisher: MemoryPublisher, chunks: int) -> None:
    async def count() -> int:
        return publisher.begun

    await eventually(count, lambda number: number == chunks, within=5)


async def test_a_post_alone_is_sent_at_once(publisher: MemoryPublisher, make_post: MakePost) -> None:
    into = lane(publisher)
    await put(into, make_post())
    assert len(publisher.stored[0]) == 1


async def test_what_comes_meanwhile_gathers_into_one_chunk(publisher: MemoryPublisher, make_post: MakePost) -> None:
    into = lane(publisher)
    publisher.hold()
    first = put(into, make_post())
    await begun(publisher, 1)
    others = [put(into, make_post()) for _ in range(20)]
    publisher.release()
    await asyncio.gather(first, *others)
    assert [decode(chunk).section("events").count(b"\n") for chunk in publisher.stored[0]] == [1, 20]


async def test_a_flood_is_pipelined_but_not_without_bound(publisher: MemoryPublisher, make_post: MakePost) -> None:
    into = lane(publisher)
    publisher.hold()
    first = put(into, make_post())
    await begun(publisher, 1)
    others = [put(into, make_post(), events=50) for _ in range(10)]
    await begun(publisher, 2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert publisher.begun == 2
    publisher.release()
    await asyncio.gather(first, *others)
    assert [decode(chunk).section("events").count(b"\n") for chunk in publisher.stored[0]] == [
        1,
        100,
        100,
        100,
        100,
        100,
    ]


async def test_the_interval_closes_a_chunk_while_another_is_under_way(
    publisher: MemoryPublisher, make_post: MakePost
) -> None:
    into = lane(publisher)
    publisher.hold()
    first = put(into, make_post())
    await begun(publisher, 1)
    second = put(into, make_post(), batching=Batching(interval=0.01))
    await begun(publisher, 2)
    publisher.release()
    await asyncio.gather(first, second)


async def test_what_is_refused_fails_its_posts(publisher: MemoryPublisher, make_post: MakePost) -> None:
    publisher.refuses = True
    into = lane(publisher)
    with pytest.raises(PublishError):
        await put(into, make_post())
    publisher.refuses = False
    await put(into, make_post())


class MistakenPublisher(MemoryPublisher):
    """Breaks its promise about what it raises."""

    async def publish(self, shard: int, value: bytes) -> None:
        raise LookupError(shard, len(value))


async def test_a_mistake_fails_its_posts_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    settled: list[str] = []
    post = Post(receipt="r", source="s", received_at="t", on_settled=lambda: settled.append("settled"))
    into = lane(MistakenPublisher())
    with pytest.raises(PublishError):
        await put(into, post)
    assert settled == ["settled"]
    assert "LookupError" in caplog.text


async def test_what_was_abandoned_before_it_was_sent_is_not_sent(
    publisher: MemoryPublisher, make_post: MakePost
) -> None:
    into = lane(publisher)
    publisher.hold()
    under_way, waiting, other = make_post(), make_post(), make_post()
    abandoned = [put(into, under_way)]
    await begun(publisher, 1)
    abandoned.append(put(into, waiting))
    durable = put(into, other)
    under_way.abandon()
    waiting.abandon()
    publisher.release()
    await durable
    assert all(future.cancelled() for future in abandoned)
    receipts = b"".join(decode(chunk).section("receipts") for chunk in publisher.stored[0])
    assert waiting.receipt.encode() not in receipts
    assert [post.is_sent for post in (under_way, waiting, other)] == [True, False, True]
    assert other.receipt.encode() in receipts
