"""What no pipeline can survive whole: it must say what is lost, lose nothing else, and count a resend once."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from tests.chaos import findings as kinds
from tests.chaos.campaign import CONFIG
from tests.chaos.findings import Findings
from tests.chaos.items import draw_items
from tests.chaos.judge import judge_events
from tests.chaos.tables import rows
from tests.eventually import eventually
from tests.traffic.provider import Item, Ledger, Provider
from tests.traffic.running import RunningPipeline

EVENTS = 600
SECONDS = 3.0
SHARDS = 2


class Disaster:
    """A pipeline with a sender, for one test."""

    def __init__(self, pipeline: RunningPipeline) -> None:
        self.pipeline = pipeline
        self.ledger = Ledger()
        self.first, self.second = draw_items(11, 2, events=EVENTS, seconds=SECONDS)
        self._provider = Provider(pipeline.addresses, 11, self.ledger)

    async def send(self, items: list[Item]) -> None:
        await self._provider.send(items, SECONDS)

    async def count(self) -> int:
        (row,) = await rows(self.pipeline.clickhouse, "select count() as n from mail.events")
        return int(row["n"])

    async def until(self, count: int) -> None:
        """Wait for as many rows."""

        async def there() -> bool:
            return await self.count() >= count

        await eventually(there, within=60)

    async def found(self) -> Findings:
        """Hold the events against what was accepted."""
        found = Findings()
        judge_events(await rows(self.pipeline.clickhouse, "select * from mail.events"), self.ledger, found)
        return found

    async def delete_records(self, topic: str) -> None:
        """Let a topic forget everything, as retention would."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.pipeline.kafka)
        await admin.start()
        try:
            everything = RecordsToDelete(-1)
            await admin.delete_records({TopicPartition(topic, shard): everything for shard in range(SHARDS)})
        finally:
            await admin.close()

    @asynccontextmanager
    async def frozen(self, *names: str) -> AsyncIterator[None]:
        """Keep parts from working for the length of the block."""
        processes: list[psutil.Process] = [self.pipeline.process(name) for name in names]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "todoke.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.timeout(400)
async def test_what_the_inbox_forgets_before_it_is_read_is_told_and_counts_once_when_it_comes_again(
    tmp_path: Path, config: Path
) -> None:
    async with RunningPipeline(tmp_path / "data", config=config) as pipeline:
        disaster = Disaster(pipeline)
        await disaster.send(disaster.first)
        await disaster.until(len(disaster.ledger.accepted))
        async with disaster.frozen("worker"):
            await disaster.send(disaster.second)
            await disaster.delete_records("mail.inbox")

        async def losses() -> bool:
            _, said = await pipeline.command("audit", "--wait", "0", "--json")
            return bool(json.loads(said[said.index("{") :])["losses"])

        await eventually(losses, within=60)
        lost = await disaster.found()
        code, said = await pipeline.audit()
        await disaster.send(disaster.first + disaster.second)
        await disaster.until(len(disaster.ledger.accepted))
        after = await disaster.found()

    assert lost.counts[kinds.LOST] > 0
    assert lost.counts.keys() == {kinds.LOST}
    assert code == 1
    assert "gone before they could be read" in said
    assert not after, after.examples


@pytest.mark.timeout(400)
async def test_what_the_outbox_forgets_before_a_sink_reads_it_is_told(tmp_path: Path, config: Path) -> None:
    async with RunningPipeline(tmp_path / "data", config=config) as pipeline:
        disaster = Disaster(pipeline)
        await disaster.send(disaster.first)
        await disaster.until(len(disaster.ledger.accepted))
        half = len(disaster.second) // 2
        async with disaster.frozen("sink-clickhouse"):
            await disaster.send(disaster.second[:half])

            async def worked_off() -> bool:
                _, said = await pipeline.command("audit", "--wait", "0", "--json")
                (worker, *_) = json.loads(said[said.index("{") :])["stages"]
                return bool(worker["behind"] == 0)

            await eventually(worked_off, within=60)
            await disaster.delete_records("mail.outbox")
        # A sink notices by the next record.
        await disaster.send(disaster.second[half:])

        async def told() -> str:
            return (await pipeline.audit(wait=1))[1]

        said = await eventually(told, lambda text: "gone before they could be read" in text, within=60)
        lost = await disaster.found()
        code, said = await pipeline.audit(wait=30)

    assert code == 1, said
    assert lost.counts[kinds.LOST] > 0
    assert lost.counts.keys() == {kinds.LOST}


@pytest.mark.timeout(400)
async def test_a_resend_counts_once_after_all_topics_are_lost(tmp_path: Path, config: Path) -> None:
    pipeline = RunningPipeline(tmp_path / "data", config=config)
    async with pipeline:
        disaster = Disaster(pipeline)
        await disaster.send(disaster.first)
        await disaster.until(len(disaster.ledger.accepted))
        code, said = await pipeline.audit()
        assert code == 0, said
    shutil.rmtree(tmp_path / "data" / "kafka")
    async with pipeline:
        await disaster.send(disaster.first + disaster.second)
        await disaster.until(len(disaster.ledger.accepted))
        code, said = await pipeline.audit()
        found = await disaster.found()

    assert not found, found.examples
    assert code == 0, said
