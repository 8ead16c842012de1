"""What cannot work is told in a sentence that says what to do."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.traffic.running import RunningPipeline

TODOKE = str(Path(sys.executable).with_name("todoke"))
FREE = ("--http-port", "0", "--kafka-port", "0", "--clickhouse-port", "0")


def refused(*arguments: str, folder: Path) -> str:
    """Run the command, which must end by itself with the code for bad configuration; give what it said."""
    ended = subprocess.run([TODOKE, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("flag", ["--http-port", "--kafka-port", "--clickhouse-port"])
def test_a_port_in_use(flag: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        said = refused("up", *FREE, flag, port, folder=tmp_path)

    assert f"port {port} on 127.0.0.1" in said
    assert f"{flag} PORT" in said
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_of_another_version(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "lock").touch()
    (data / "layout.json").write_text(json.dumps({"layout": 99}))

    said = refused("up", *FREE, folder=tmp_path)
    assert "has layout 99" in said
    assert "--data DIR" in said


def test_bad_configuration(tmp_path: Path) -> None:
    (tmp_path / "todoke.toml").write_text('[kafka]\nbotstrap_servers = "x"\n[sources.shop]\ntime_zone = "Mars"\n')

    said = refused("up", *FREE, folder=tmp_path)
    assert "did you mean kafka.bootstrap_servers?" in said
    assert "sources.shop.time_zone = 'Mars' (todoke.toml)" in said


@pytest.mark.parametrize("flag", ["--workers", "--sinks"])
def test_more_processes_than_shards(flag: str, tmp_path: Path) -> None:
    said = refused("up", *FREE, flag, "3", folder=tmp_path)

    assert f"local.{flag[2:]} = 3 ({flag}) is more than topics.shards = 2 (default)" in said


def test_an_open_source_on_all_addresses(tmp_path: Path) -> None:
    (tmp_path / "todoke.toml").write_text('[ingest]\nhost = "0.0.0.0"\n')

    told = "sources.cmc has no secret and ingest.host = '0.0.0.0' (todoke.toml) is reachable"
    assert told in refused("up", *FREE, folder=tmp_path)
    assert told in refused("ingest", folder=tmp_path)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('[kafka]\nbootstrap_servers = "kafka:9092"', "kafka.bootstrap_servers = 'kafka:9092' (todoke.toml)"),
        ('[clickhouse]\nhost = "clickhouse.internal"', "clickhouse.host = 'clickhouse.internal' (todoke.toml)"),
        ("[clickhouse]\nport = 9000", "clickhouse.port = 9000 (todoke.toml)"),
    ],
)
def test_another_kafka_or_clickhouse_beside_those_of_up(table: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "todoke.toml").write_text(table)
    said = refused("up", *FREE, folder=tmp_path)

    assert f"{told} is of another Kafka or ClickHouse" in said
    assert "local.clickhouse_port" in said


@pytest.mark.timeout(300)
async def test_a_folder_in_use_and_a_service_that_is_away(tmp_path: Path) -> None:
    async with RunningPipeline(tmp_path / "data") as pipeline:
        pid = pipeline.run["pids"]["todoke"]
        assert f"is in use by process {pid}" in refused("up", *FREE, folder=tmp_path)
    ended = subprocess.run(  # noqa: ASYNC221 - nothing else is to run meanwhile
        [TODOKE, "audit"],
        env={**os.environ, "TODOKE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3
    assert "does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr
