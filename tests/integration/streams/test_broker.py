"""A broker that goes away in the middle."""

import random
from pathlib import Path

import pytest

from deploy.embedded.kafka import EmbeddedKafka
from tests.integration.streams.stage import stage_in
from tests.integration.streams.test_kills import assert_each_once, everything, history, put_all, until_written


@pytest.mark.timeout(600)
async def test_a_broker_that_dies_again_and_again_costs_nothing(tmp_path: Path, topic_prefix: str) -> None:
    chance = random.Random(9)  # noqa: S311 - a test's dice
    events = history(12_000)
    async with EmbeddedKafka(data=tmp_path / "kafka") as kafka:
        stage = stage_in(kafka.bootstrap_servers, topic_prefix, shards=4)
        await stage.create()
        last = await put_all(stage, events, 25, chance)
        written = 0
        async with stage.running(instance="one") as worker:
            for _ in range(3):
                written = await until_written(stage, written + chance.randrange(1, 200))
                kafka.kill()
                await kafka.wait()
                await kafka.start()
            await worker.until_idle()
        told = await everything(stage, last)

    assert written < sum(last), "the worker had nothing left to be disturbed in"
    assert_each_once(told, events)
