import asyncio

import pytest

from ingest.posts import Post
from streams.contracts.errors import PublishError


def post(settled: list[str]) -> Post:
    return Post(receipt="r", source="s", received_at="t", on_settled=lambda: settled.append("settled"))


async def test_durable_when_every_piece_is() -> None:
    settled: list[str] = []
    each = post(settled)
    durable = each.expect(2)
    each.acknowledge()
    assert not durable.done()
    each.acknowledge()
    await durable
    assert settled == ["settled"]


async def test_nothing_is_durable_at_once() -> None:
    settled: list[str] = []
    each = post(settled)
    durable = each.expect(0)
    await durable
    assert settled == ["settled"]


async def test_one_piece_given_up_fails_it_but_it_settles_with_the_last() -> None:
    settled: list[str] = []
    each = post(settled)
    durable = each.expect(2)
    each.give_up(PublishError("no"))
    with pytest.raises(PublishError):
        await durable
    assert settled == []
    each.acknowledge()
    assert settled == ["settled"]


async def test_an_abandoned_post_settles_all_the_same() -> None:
    settled: list[str] = []
    each = post(settled)
    durable = each.expect(2)
    each.abandon()
    each.give_up(PublishError("no"))
    each.acknowledge()
    assert settled == ["settled"]
    with pytest.raises(asyncio.CancelledError):
        await durable
