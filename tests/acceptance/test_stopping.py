"""The end of a whole pipeline: in good order, in a hurry, and for good."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from deploy.exit import Exit
from tests.eventually import eventually
from tests.traffic.mails import traffic
from tests.traffic.running import RunningPipeline
from tests.traffic.sender import send, with_resends

EVENTS = 40_000
SCALED = "[local]\nworkers = 2\nsinks = 2\n"
SOON_GIVEN_UP = "[local]\ngive_up_after = 2\nrestart_pause = 0.1\n"


@pytest.mark.timeout(400)
async def test_two_quick_signals_under_load_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    config = tmp_path / "todoke.toml"
    config.write_text(SCALED)
    mails = traffic(EVENTS, seed=11)
    posts = with_resends(mails.posts, share=0.1, seed=11)
    async with RunningPipeline(tmp_path / "data", config=config) as pipeline:
        members = {name for name in pipeline.run["pids"] if name.startswith(("worker", "sink"))}
        assert members == {
            f"{kind}{slot}" for kind in ("worker", "sink-clickhouse", "sink-topics") for slot in ("", "-2")
        }
        sending = asyncio.create_task(send(posts, pipeline.webhooks, pause=0.1, patience=120))
        await eventually(lambda: rows(pipeline), within=60)
        pid = pipeline.run["pids"]["todoke"]
        os.kill(pid, signal.SIGTERM)

        async def output() -> str:
            return pipeline.output

        await eventually(output, lambda said: "stopping; within" in said)
        os.kill(pid, signal.SIGTERM)
        assert await pipeline.stop() in (Exit.OK, Exit.CUT_OFF)

        await pipeline.start()
        answers = await sending
        assert answers.accepted_posts == len(posts)
        code, said = await pipeline.audit()
        assert code == Exit.OK, said
        types = await pipeline.select("select type, count() as n from mail.events group by type")
        assert {row["type"]: row["n"] for row in types} == mails.by_type


async def rows(pipeline: RunningPipeline) -> int:
    (row,) = await pipeline.select("select count() as n from mail.events")
    return int(row["n"])


@pytest.mark.timeout(300)
async def test_a_part_that_keeps_dying_stops_everything_with_a_sentence(tmp_path: Path) -> None:
    config = tmp_path / "todoke.toml"
    config.write_text(SOON_GIVEN_UP)
    async with RunningPipeline(tmp_path / "data", config=config) as pipeline:
        await pipeline.until_replaced("worker", pipeline.kill("worker"))
        pipeline.kill("worker")

        async def is_running() -> bool:
            return pipeline.is_running

        await eventually(is_running, lambda running: not running, within=90)
        assert await pipeline.stop() == Exit.GAVE_UP
        assert "worker died 2 times within 300 s and is given up; it was killed by SIGKILL" in pipeline.output
        assert not (tmp_path / "data" / "run.json").exists()
