"""A pipeline with a configuration of its own, and commands beside it that are told nothing but the data folder."""

import json
from pathlib import Path

import aiohttp
import pytest

from tests.traffic.running import RunningPipeline

PAYLOAD = Path(__file__).parents[1] / "payloads" / "customers-mail-cloud" / "bounces-1.json"
CONFIGURATION = """
[topics]
prefix = "shop."
shards = 2

[clickhouse]
database = "shop"

[sources.shop]
basic = ["cmc:open sesame"]
api_keys = ["key-of-today", "key-of-tomorrow"]
time_zone = "UTC"
"""


@pytest.mark.timeout(300)
async def test_a_configured_pipeline_and_the_commands_beside_it(tmp_path: Path) -> None:
    config = tmp_path / "shop.toml"
    config.write_text(CONFIGURATION)
    async with RunningPipeline(tmp_path / "data", config=config) as pipeline:
        code, said = await pipeline.command("send", str(PAYLOAD))
        assert code == 0, said

        url = pipeline.run["addresses"]["http"] + "/v1/webhooks/shop"
        async with aiohttp.ClientSession() as session, session.post(url, data=PAYLOAD.read_bytes()) as answer:
            assert answer.status == 401

        code, said = await pipeline.audit()
        assert code == 0, said
        (row,) = await pipeline.select("select occurred_at, source from shop.events")
        assert row == {"occurred_at": "2023-01-25 14:05:15.000", "source": "shop"}
        code, said = await pipeline.command("consume", "shop.lifecycles")
        assert json.loads(said)["recipient"] == "user@example"

        code, said = await pipeline.command("ingest", "--port", "0", "--until-idle")  # one more, of this pipeline
        assert code == 0, said
        code, said = await pipeline.command("topics", "--check")
        assert code == 0, said
        code, said = await pipeline.command("migrate", "--check")
        assert code == 0, said
        code, said = await pipeline.command("config", "--changed")
        assert code == 0, said
        assert "shop.toml" in said
        assert "run.json" in said
        everything = said + pipeline.output + (pipeline.data / "run.json").read_text()
        for secret in ("open sesame", "key-of-today", "key-of-tomorrow"):
            assert secret not in everything
