"""The machine loses its power: what ClickHouse answered is there, its tokens included, and so is what was merged."""

from pathlib import Path

import pytest

from deploy.embedded.clickhouse import EmbeddedClickHouse
from sinks.clickhouse.migrations import migrate
from sinks.settings import ClickHouseConnection
from tests.chaos.disasters.dying import lose_power
from tests.chaos.power import disk_of_its_own
from tests.eventually import eventually
from tests.integration.embedded_clickhouse.asking import ask, rows

HOUR = b'{"hour":"2026-03-02T05:00:00.000Z","source":"s%d","queued":1}\n'
COUNTED = "select count(), sum(queued) from mail.hourly_counts"


@pytest.mark.timeout(300)
async def test_an_insert_that_was_answered_is_there_and_its_token_is_known(tmp_path: Path) -> None:
    async with disk_of_its_own(tmp_path / "disk", keep=lambda: False) as disk:
        server = EmbeddedClickHouse(data=disk.folder / "clickhouse")
        await server.start()
        await migrate(ClickHouseConnection(port=server.port))
        for number in range(5):
            await insert(server, number)
        await lose_power(server.pid, server.wait, disk)
        await server.start()

        assert await rows(server.url, COUNTED) == [["5", "5"]]
        for number in range(6):
            await insert(server, number)
        assert await rows(server.url, COUNTED) == [["6", "6"]]
        await server.stop()


@pytest.mark.timeout(300)
async def test_what_was_merged_is_there_though_what_it_was_made_of_is_gone(tmp_path: Path) -> None:
    async with disk_of_its_own(tmp_path / "disk", keep=lambda: False) as disk:
        server = EmbeddedClickHouse(data=disk.folder / "clickhouse")
        await server.start()
        await migrate(ClickHouseConnection(port=server.port))
        # After eight minutes by default; sooner where the clock is set ahead.
        await do(server, "alter table mail.hourly_counts modify setting old_parts_lifetime = 0")
        for number in range(5):
            await insert(server, number)
        await do(server, "optimize table mail.hourly_counts final")

        async def is_alone() -> bool:
            left = "select count() from system.parts where table = 'hourly_counts'"
            return await rows(server.url, left) == [["1"]]

        await eventually(is_alone, within=120.0)
        await lose_power(server.pid, server.wait, disk)
        await server.start()

        assert await rows(server.url, COUNTED) == [["5", "5"]]
        await server.stop()


async def insert(server: EmbeddedClickHouse, number: int) -> None:
    await do(server, HOUR % number, query="insert into mail.hourly_counts format JSONEachRow", token=str(number))


async def do(server: EmbeddedClickHouse, body: str | bytes, *, token: str = "", query: str = "") -> None:
    answer = await ask(
        server.url, body, query=query, insert_deduplication_token=token, date_time_input_format="best_effort"
    )
    assert answer.status == 200, answer.text
