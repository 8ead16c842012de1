"""Parts that hang: they live, listen and answer nothing. Whoever watches them must put others in their place."""

import signal
from pathlib import Path

import psutil
import pytest

from deploy.exit import Exit
from tests.traffic.mails import traffic
from tests.traffic.running import RunningPipeline
from tests.traffic.sender import send

EVENTS = 4_000
SOON_MISSED = "[local]\nsilence = 20\nrestart_pause = 0.1\n"
ROLES = ("ingest", "worker", "sink-clickhouse", "sink-topics", "clickhouse")


@pytest.mark.timeout(400)
async def test_what_hangs_is_replaced_and_counts_once(tmp_path: Path) -> None:
    config = tmp_path / "todoke.toml"
    config.write_text(SOON_MISSED)
    mails = traffic(EVENTS, seed=21)
    half = len(mails.posts) // 2
    async with RunningPipeline(tmp_path / "data", config=config) as pipeline:
        await send(mails.posts[:half], pipeline.webhooks, patience=120)
        hanging = {name: pipeline.process(name) for name in ROLES}
        for process in hanging.values():
            process.suspend()
        for name, process in hanging.items():
            await pipeline.until_replaced(name, process.pid)

        kafka = pipeline.process("kafka")
        java_of(kafka).send_signal(signal.SIGSTOP)
        await pipeline.until_replaced("kafka", kafka.pid)

        await send(mails.posts[half:], pipeline.webhooks, patience=120)
        code, said = await pipeline.audit()
        assert code == Exit.OK, said
        types = await pipeline.select("select type, count() as n from mail.events group by type")
        assert {row["type"]: row["n"] for row in types} == mails.by_type


def java_of(kafka: psutil.Process) -> psutil.Process:
    """Give the broker itself, which another process of ours started."""
    (java,) = (child for child in kafka.children(recursive=True) if child.name() == "java")
    return java
