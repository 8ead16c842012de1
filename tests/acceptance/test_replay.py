"""Dead letters and the inbox through the pipeline again: what is newly readable counts once, and nothing else."""

import json
from pathlib import Path

import aiohttp
import pytest

from tests.traffic.running import RunningPipeline

WRONG = '[sources.shop]\nprovider = "generic"\n'
RIGHT = '[sources.shop]\nprovider = "customers-mail-cloud"\n'
CREATED = "2026-03-02 09:00:00"


def body(*message_ids: str) -> bytes:
    records = [
        {"messageId": name, "to": "user@example.jp", "status": "queued", "created": CREATED} for name in message_ids
    ]
    return json.dumps({"event_type": "deliveries", "event": {"deliveries": records}}).encode()


async def post(pipeline: RunningPipeline, *bodies: bytes) -> None:
    url = pipeline.webhooks.replace("/cmc", "/shop")
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        for one in bodies:
            async with session.post(url, data=one) as answer:
                assert answer.status == 200


async def figures(pipeline: RunningPipeline) -> tuple[int, int, int, int, int]:
    """Count once all is there: rows of events; unique, duplicates and dead letters by the receipts; dead letters."""
    code, said = await pipeline.audit()
    assert code == 0, said
    (sums,) = await pipeline.select(
        "select sum(`unique`) as u, sum(duplicate) as d, sum(dead_lettered) as l from mail.receipts"
    )
    (rows,) = await pipeline.select(
        "select (select count() from mail.events) as e, (select count() from mail.dead_letters) as l"
    )
    return rows["e"], sums["u"], sums["d"], sums["l"], rows["l"]


async def arrivals(pipeline: RunningPipeline) -> int:
    """Count how often parts of posts arrived, copies included."""
    (row,) = await pipeline.select("select sum(length(places)) as n from mail.receipts")
    return int(row["n"])


@pytest.mark.timeout(300)
async def test_a_replay_counts_what_is_newly_readable_and_then_nothing(tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong.toml", tmp_path / "right.toml"
    wrong.write_text(WRONG)
    right.write_text(RIGHT)
    async with RunningPipeline(tmp_path / "data", config=wrong) as pipeline:
        await post(pipeline, body("1@x", "2@x"), body("2@x", "3@x"), b"<xml/>")
        assert await figures(pipeline) == (0, 0, 0, 3, 3)

        code, said = await pipeline.command("replay", "--dry-run", "--json", "--config", str(right))
        assert code == 0, said
        told = json.loads(said)
        assert {reason: (tally["letters"], tally["readable"], tally["events"]) for reason, tally in told.items()} == {
            "record_shape": (2, 2, 4),
            "body_unreadable": (1, 0, 0),
        }
        assert await figures(pipeline) == (0, 0, 0, 3, 3)

        assert (await pipeline.command("replay", "--config", str(right)))[0] == 0
        counted = (3, 3, 1, 3, 3)
        assert await figures(pipeline) == counted
        links = await pipeline.select(
            "select letter.reason as reason, post.`unique` + post.duplicate as events "
            "from mail.replays as replay join mail.receipts as post on post.receipt = replay.replay "
            "join mail.dead_letters as letter on letter.receipt = replay.receipt order by replay.replay"
        )
        assert links == [{"reason": "record_shape", "events": 2}] * 2

        for again in ((), ("--again",), ("--reason", "record_shape", "--again")):
            code, said = await pipeline.command("replay", "--config", str(right), *again)
            assert code == 0, said
            assert await figures(pipeline) == counted

        before = await arrivals(pipeline)
        code, said = await pipeline.command("replay", "--inbox", "--since", "1h", "--dry-run", "--json")
        assert code == 0, said
        assert json.loads(said)["events"] == 4
        code, said = await pipeline.command("replay", "--inbox", "--since", "1h", "--dry-run")
        assert code == 0, said
        assert said.endswith("\n\nnothing was done: this was a dry run\n")
        assert await arrivals(pipeline) == before
        code, said = await pipeline.command("replay", "--inbox", "--since", "1h")
        assert code == 0, said
        assert await figures(pipeline) == counted
        assert await arrivals(pipeline) == 2 * before

        code, said = await pipeline.command("audit", "--topics")
        assert code == 0, said
        assert "public topics: the same events, lifecycles, suppressions and dead letters as the tables" in said
        code, said = await pipeline.command("replay", "--source", "nope", "--dry-run")
        assert code == 2, said
        assert "there is: " in said

        await move_back(pipeline, days=8)
        code, said = await pipeline.command("replay", "--inbox", "--since", "1h", "--dry-run", "--json")
        assert code == 0, said
        told = json.loads(said)
        assert told["events"] == 0, "the worker may have forgotten the events by now"
        assert told["too_old"] > 0


async def move_back(pipeline: RunningPipeline, *, days: int) -> None:
    """Have ClickHouse's events be received some days earlier."""
    moved = f"select * replace (received_at - interval {days} day as received_at) from mail.events"
    async with aiohttp.ClientSession() as session:
        for statement in (
            f"create table mail.moved engine = Memory as {moved}",
            "truncate table mail.events",
            "insert into mail.events select * from mail.moved",
        ):
            async with session.post(pipeline.clickhouse, data=statement) as answer:
                assert answer.status == 200, await answer.text()
