"""Memory stays bounded when much more is sent than Kafka takes."""

from pathlib import Path

import pytest

from deploy.embedded.kafka import EmbeddedKafka
from streams.contracts.topics import topics
from tests.benchmarks.flood import MB, Flood, flood_ingest
from tests.integration.ingest.inbox import create_inbox

SHORT = Flood(capacity=4 * MB, body=MB // 2, body_events=5000, times=25, connections=32, answer_within=2.0)


@pytest.mark.timeout(180)
async def test_a_flood_while_kafka_stands_still_takes_no_more_memory_than_stated(tmp_path: Path) -> None:
    async with EmbeddedKafka(data=tmp_path / "kafka") as broker:
        await create_inbox(broker.bootstrap_servers, topics("flood."))
        outcome = await flood_ingest(broker, "flood.", SHORT)
    assert outcome.sent > 10 * SHORT.capacity
    assert outcome.statuses[503] > 0
    assert outcome.peak < SHORT.bound
    assert outcome.lost == []
