"""With the journal, whatever is killed, the books balance."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.eventually import eventually
from tests.integration.ingest.journal_process import JournalProcess, body, post
from tests.traffic.mails import traffic
from tests.traffic.running import RunningPipeline
from tests.traffic.sender import send

EVENTS = 30_000
CONFIGURATION = """
[sources.cmc]
durability = "journal"
batching = { interval = 0.2 }
"""


@pytest.mark.timeout(400)
async def test_the_books_balance_with_a_journal(tmp_path: Path) -> None:
    config = tmp_path / "todoke.toml"
    config.write_text(CONFIGURATION)
    mails = traffic(EVENTS, seed=11)
    async with (
        RunningPipeline(tmp_path / "data", config=config) as pipeline,
        JournalProcess(pipeline.kafka, "mail.", tmp_path / "beside") as beside,
    ):
        # What Kafka acknowledged and the journal did not remove is sent again.
        await beside.start("before removing")
        async with aiohttp.ClientSession() as http:
            answers = await asyncio.gather(*(post(http, beside.url, body(number)) for number in range(5)))
            assert await beside.wait() == -9
            await beside.start()
            assert await post(http, beside.url, body(99)) is not None
        accepted = 21 * (sum(answer is not None for answer in answers) + 1)
        # While Kafka is away, nobody is refused.
        pid = pipeline.kill("kafka")
        answered = await send(mails.posts[: len(mails.posts) // 2], pipeline.webhooks)
        assert answered.refusals == 0
        await pipeline.until_replaced("kafka", pid)
        # And ingest itself may die.
        sending = asyncio.create_task(send(mails.posts[len(mails.posts) // 2 :], pipeline.webhooks, pause=0.1))
        for _ in range(3):
            await pipeline.until_replaced("ingest", pipeline.kill("ingest"))
        await sending

        async def events() -> int:
            rows = await pipeline.select("select sum(accepted) as n from mail.receipts")
            return int(rows[0]["n"])

        await eventually(events, lambda number: number >= EVENTS + accepted, within=120)
        code, said = await pipeline.audit()
        assert code == 0, said
        rows = await pipeline.select("select type, count() as n from mail.events where source = 'cmc' group by type")
        found = {row["type"]: row["n"] for row in rows}
        found["queued"] -= 20 * (accepted // 21)
        assert found == dict(mails.by_type)
