"""The server as a process: started, stopped, killed; and what it says when it cannot run."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest

from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.errors import FolderInUseError, FolderVersionError, PortInUseError, ServerFailedError
from deploy.tables import Tables
from sinks.clickhouse.connection import connect
from sinks.settings import ClickHouseConnection
from streams.contracts.errors import ConfigurationError
from tests.eventually import eventually
from tests.integration.embedded_clickhouse.asking import ask, rows, value

SLOW = "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1"
RUNNING = "SELECT count() FROM system.processes WHERE query NOT LIKE '%processes%'"


def run(*arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
    """Run the server's command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.embedded.clickhouse", *arguments],
        env={**os.environ, "TODOKE_CLICKHOUSE__PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def test_data_and_port_survive_stop_and_kill(data: Path) -> None:
    server = EmbeddedClickHouse(data=data)
    await server.start()
    url = server.url
    assert (await ask(url, "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")).status == 200
    assert (await ask(url, "INSERT INTO t VALUES (1)")).status == 200
    await server.restart()
    assert (await ask(url, "INSERT INTO t VALUES (2)")).status == 200
    server.kill()
    assert await server.wait() == -signal.SIGKILL
    assert server.pid is None
    await server.start()
    assert server.url == url
    assert await value(url, "SELECT sum(a) FROM t") == "3"
    await server.stop()
    await server.stop()
    assert await server.wait() == 0


async def test_what_a_killed_server_announced_is_not_believed(data: Path) -> None:
    async with EmbeddedClickHouse(data=data) as server:
        server.kill()
        await server.wait()
    assert (data / "server.json").exists()
    with pytest.raises(ServerFailedError):  # which may have got the process id of the killed one
        await EmbeddedClickHouse(data=data, start_within=0.0).start()
    assert not (data / "server.json").exists()


async def test_a_stop_lets_queries_finish(data: Path) -> None:
    server = EmbeddedClickHouse(data=data)
    await server.start()
    query = "SELECT sleepEachRow(0.1) FROM numbers(15) SETTINGS max_block_size = 1"
    answering = asyncio.create_task(ask(server.url, query))
    await eventually(lambda: value(server.url, RUNNING), lambda count: count == "1")
    await server.stop()
    assert (await answering).body.count(b"\n") == 15
    assert await server.wait() == 0


async def test_a_stop_cancels_what_does_not_finish(data: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "deploy.embedded.clickhouse",
        "--data",
        str(data),
        "--port",
        "0",
        "--stop-within",
        "0.5",
    ]
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    url = (await process.stderr.readline()).decode().split()[-1]
    answering = asyncio.create_task(ask(url, SLOW))
    await eventually(lambda: value(url, RUNNING), lambda count: count == "1")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await process.wait() == 0
    with pytest.raises(aiohttp.ClientError):
        await answering


async def test_it_says_where_it_answers(data: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.embedded.clickhouse", "--data", str(data), "--port", "0"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    before, url = line.strip().split(f" deploy.embedded.clickhouse.server: Serving {data} on ")
    assert before.split()[-1] == "INFO"
    assert json.loads((data / "server.json").read_bytes()) == {"pid": process.pid, "url": url}
    assert await value(url, "SELECT 1") == "1"
    failed = await ask(url, "SELECT 'secret-in-a-query' FROM nowhere", query_id="the-id")
    assert failed.status == 404
    process.terminate()
    _, logged = await process.communicate()
    assert process.returncode == 0
    assert not (data / "server.json").exists()
    lines = [text.partition(" deploy.embedded.clickhouse.server: ")[2] for text in logged.decode().splitlines()]
    assert lines == [
        "Query the-id failed: code 60, UNKNOWN_TABLE",
        "Stopping; queries have 10 s",
        "Stopped",
    ]


async def test_it_dies_with_its_parent(data: Path) -> None:
    script = (
        "import asyncio, sys, pathlib\n"
        "from deploy.embedded.clickhouse import EmbeddedClickHouse\n"
        "async def main():\n"
        "    server = EmbeddedClickHouse(data=pathlib.Path(sys.argv[1]))\n"
        "    await server.start()\n"
        "    print(server.pid, flush=True)\n"
        "    await server.wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(data), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    await parent.wait()

    async def gone() -> bool:
        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    await eventually(gone)


async def test_a_password_is_asked_for(data: Path) -> None:
    async with EmbeddedClickHouse(data=data, user="mail", password="it's secret") as server:
        url = server.url
        unknown = await ask(url, "SELECT 1")
        assert (unknown.status, unknown.code) == (401, 194)
        assert unknown.headers["WWW-Authenticate"].startswith("Basic realm=")
        for parameters in (
            {"user": "mail", "password": "wrong"},
            {"user": "default", "password": "it's secret"},
            {"user": "mail"},
        ):
            refused = await ask(url, "SELECT 1", method="POST", headers=None, **parameters)
            assert (refused.status, refused.code) == (403, 516)
            assert "secret" not in refused.text
        assert (await ask(url, "SELECT 1", user="mail", password="it's secret")).body == b"1\n"
        headers = {"X-ClickHouse-User": "mail", "X-ClickHouse-Key": "it's secret"}
        assert (await ask(url, "SELECT 1", headers=headers)).body == b"1\n"
        basic = {"Authorization": aiohttp.encode_basic_auth("mail", "it's secret")}
        assert (await ask(url, "SELECT 1", headers=basic)).body == b"1\n"
        both = await ask(url, "SELECT 1", headers=basic, user="mail")
        assert both.code == 516
        assert (await ask(url + "/ping", method="GET")).body == b"Ok.\n"
    assert b"secret" not in (data / "server.log").read_bytes()


async def test_a_password_that_is_not_the_one_is_told_by_both_clients(data: Path) -> None:
    async with EmbeddedClickHouse(data=data, user="mail", password="secret") as server:
        connection = ClickHouseConnection(host="127.0.0.1", port=urlsplit(server.url).port or 0, user="mail")
        with pytest.raises(ConfigurationError, match="TODOKE_CLICKHOUSE__PASSWORD"):
            await connect(connection)
        async with Tables(connection) as tables:
            with pytest.raises(ConfigurationError, match="TODOKE_CLICKHOUSE__PASSWORD"):
                await tables.rows("select 1 as one")


async def test_a_folder_in_use_is_told(data: Path) -> None:
    async with EmbeddedClickHouse(data=data) as server:
        with pytest.raises(FolderInUseError, match=f"in use by process {server.pid}"):
            await EmbeddedClickHouse(data=data).start()
        done = await asyncio.to_thread(run, "--data", str(data), "--port", "0")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"is in use by process {server.pid}. Stop the todoke that runs there" in done.stderr
        assert "Traceback" not in done.stderr


async def test_a_port_in_use_is_told(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"Port {port} on 127.0.0.1 is in use"):
            await EmbeddedClickHouse(data=data, port=port).start()
        done = await asyncio.to_thread(run, "--data", str(data), "--port", str(port))
        assert done.returncode == 2
        assert "choose another port (0 picks a free one)" in done.stderr
        assert "Traceback" not in done.stderr


async def test_a_folder_of_a_newer_engine_is_told(data: Path) -> None:
    async with EmbeddedClickHouse(data=data):
        pass
    marker = data / "todoke-clickhouse.json"
    written = json.loads(marker.read_bytes())
    marker.write_text(json.dumps(written | {"engine": "99.1.2.3"}))
    with pytest.raises(FolderVersionError, match=r"written by ClickHouse 99\.1\.2\.3"):
        await EmbeddedClickHouse(data=data).start()
    done = await asyncio.to_thread(run, "--data", str(data), "--port", "0")
    assert done.returncode == 2
    assert "Install a chdb at least as new" in done.stderr
    assert "Traceback" not in done.stderr
    marker.write_text(json.dumps(written | {"engine": "25.1.2.3"}))
    async with EmbeddedClickHouse(data=data) as server:
        assert await rows(server.url, "SELECT 1") == [["1"]]
    assert json.loads(marker.read_bytes()) == written


def test_a_folder_of_others_is_left_alone(data: Path) -> None:
    data.mkdir()
    (data / "letter.txt").write_text("dear")
    with pytest.raises(FolderVersionError, match="holds files that are not todoke's"):
        asyncio.run(EmbeddedClickHouse(data=data).start())
    assert [path.name for path in data.iterdir()] == ["letter.txt"]


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderVersionError, match="cannot be used: Not a directory"):
        await EmbeddedClickHouse(data=tmp_path / "file" / "data").start()


@pytest.mark.parametrize(
    ("arguments", "password", "said"),
    [
        (
            ["--host", "0.0.0.0"],  # noqa: S104 - it is refused
            "",
            "host 0.0.0.0 can be reached from other machines, and no password is set. Set TODOKE_",
        ),
        (["--port", "70000"], "", "port: Input should be less than or equal to 65535"),
        (["--host", "192.0.2.1"], "it's secret", "ClickHouse cannot listen on 192.0.2.1, port 0: "),
    ],
)
def test_wrong_use_is_told(data: Path, arguments: list[str], password: str, said: str) -> None:
    done = run("--data", str(data), "--port", "0", *arguments, password=password)
    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_help_tells_all() -> None:
    done = run("--help")
    assert done.returncode == 0
    for part in ("--data", "--port", "TODOKE_CLICKHOUSE__PASSWORD", "SIGTERM"):
        assert part in done.stdout


async def test_a_crash_of_the_engine_ends_the_process_at_once(data: Path) -> None:
    server = EmbeddedClickHouse(data=data)
    await server.start()
    assert server.pid is not None
    assert (await ask(server.url, "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")).status == 200
    os.kill(server.pid, signal.SIGSEGV)
    async with asyncio.timeout(5):
        assert await server.wait() == -signal.SIGSEGV
    await server.start()
    assert await value(server.url, "SELECT count() FROM t") == "0"
    await server.stop()
