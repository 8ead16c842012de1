"""Whatever is killed, nothing is lost and nothing counts twice."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually
from tests.traffic.mails import Traffic, traffic
from tests.traffic.running import RunningPipeline
from tests.traffic.sender import Answers, send, with_resends
from tests.traffic.topics import committed_records

EVENTS = 60_000
PARTS = ("ingest", "worker", "sink-clickhouse", "sink-topics", "kafka", "clickhouse")
EVERYTHING = "everything"
SEED = 7


@pytest.mark.timeout(600)
async def test_the_books_balance_after_killing_each_part_and_everything(tmp_path: Path) -> None:
    mails = traffic(EVENTS, seed=SEED)
    posts = with_resends(mails.posts, share=0.1, seed=SEED)
    victims = [*random.Random(SEED).sample(PARTS, len(PARTS)), EVERYTHING]  # noqa: S311 - any order will do
    share = -(-len(posts) // len(victims))
    async with RunningPipeline(tmp_path / "data") as pipeline:
        for turn, victim in enumerate(victims):
            part = posts[turn * share : (turn + 1) * share]
            before = await events_in(pipeline)
            sending = asyncio.create_task(send(part, pipeline.webhooks, pause=0.1, patience=20))
            await eventually(lambda before=before: has_moved(pipeline, before), within=60)  # type: ignore[misc]
            await kill(pipeline, victim)
            answers: Answers = await sending
            assert answers.accepted_posts == len(part), f"after killing {victim}"
        code, said = await pipeline.audit()
        assert code == 0, said
        assert await counts(pipeline, "type", "mail.events") == mails.by_type
        assert await counts(pipeline, "state", "mail.lifecycles") == mails.by_state
        await each_change_arrives_once(pipeline, mails)


async def events_in(pipeline: RunningPipeline) -> int:
    rows = await pipeline.select("select count() as n from mail.events")
    return int(rows[0]["n"])


async def has_moved(pipeline: RunningPipeline, before: int) -> bool:
    """Tell whether some of what is being sent has come through, so that every part is in the middle of its work."""
    return await events_in(pipeline) > before


async def kill(pipeline: RunningPipeline, victim: str) -> None:
    if victim == EVERYTHING:
        await pipeline.kill_everything()
        await pipeline.start()
    else:
        await pipeline.until_replaced(victim, pipeline.kill(victim))


async def counts(pipeline: RunningPipeline, column: str, table: str) -> Counter[str]:
    rows = await pipeline.select(f"select {column} as name, count() as n from {table} group by name")
    return Counter({row["name"]: row["n"] for row in rows})


async def each_change_arrives_once(pipeline: RunningPipeline, mails: Traffic) -> None:
    """Read the public topics as any consumer would, and hold them against what was sent."""
    events = [json.loads(value) for _, value in await committed_records(pipeline.kafka, "mail.events")]
    assert Counter(event["type"] for event in events) == mails.by_type
    assert len({event["id"] for event in events}) == len(events)
    latest: dict[bytes, dict[str, Any]] = {}
    for key, value in await committed_records(pipeline.kafka, "mail.lifecycles"):
        lifecycle = json.loads(value)
        assert lifecycle["events"] > latest.get(key, {"events": 0})["events"], "a change came again, or out of order"
        latest[key] = lifecycle
    assert Counter(lifecycle["state"] for lifecycle in latest.values()) == mails.by_state
