"""How the embedded engine keeps the parts of its tables."""

from pathlib import Path

from deploy.embedded.clickhouse import EmbeddedClickHouse
from tests.integration.embedded_clickhouse.asking import ask, rows, value

PART = "SELECT path FROM system.parts WHERE active AND database = 'default' AND table = 't'"


async def test_a_small_part_is_one_file_and_survives_changes_and_a_kill(tmp_path: Path) -> None:
    async with EmbeddedClickHouse(data=tmp_path / "data") as server:
        for statement in (
            "CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n SETTINGS fsync_after_insert = 1",
            "INSERT INTO t SELECT number, toString(number) FROM numbers(1000)",
            "ALTER TABLE t UPDATE s = 'changed' WHERE n < 10 SETTINGS mutations_sync = 2",
            "ALTER TABLE t DELETE WHERE n >= 900 SETTINGS mutations_sync = 2",
            "INSERT INTO t SELECT number, 'more' FROM numbers(1000, 100)",
            "OPTIMIZE TABLE t FINAL",
        ):
            answer = await ask(server.url, statement)
            assert answer.status == 200, answer.text
        assert files_in(await value(server.url, PART)) == ["data.packed"]

        server.kill()
        await server.wait()
        await server.start()
        counts = "SELECT count(), countIf(s = 'changed'), countIf(s = 'more') FROM t"
        assert await rows(server.url, counts) == [["1000", "10", "100"]]


def files_in(folder: str) -> list[str]:
    return sorted(file.name for file in Path(folder).iterdir())
