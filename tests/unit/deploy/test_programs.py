import asyncio
import socket
from pathlib import Path

import pytest

from deploy.ports import LOOPBACK, free_port, is_free
from deploy.programs import Kind, Ports, Programs
from deploy.settings import Settings
from streams.contracts.errors import ConfigurationError


def settings(
    *, host: str = LOOPBACK, http: int = 0, kafka: int = 0, clickhouse: int = 0, workers: int = 1, sinks: int = 1
) -> Settings:
    local = {"kafka_port": kafka, "clickhouse_port": clickhouse, "workers": workers, "sinks": sinks}
    return Settings.model_validate({"ingest": {"host": host, "port": http}, "local": local})


def few_ports(monkeypatch: pytest.MonkeyPatch, number: int) -> range:
    """Leave so many ports in a row to pick from."""
    lowest = free_port()
    while not all(is_free(LOOPBACK, port) for port in range(lowest, lowest + number)):
        lowest = free_port()
    monkeypatch.setattr("deploy.ports.LOWEST", lowest)
    monkeypatch.setattr("deploy.ports.HIGHEST", lowest + number - 1)
    return range(lowest, lowest + number)


def test_a_port_is_not_picked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    few_ports(monkeypatch, 2)

    with pytest.raises(ConfigurationError, match="no free port"):
        Ports.chosen(settings())


def test_a_port_that_is_named_is_not_picked_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = few_ports(monkeypatch, 1)

    with pytest.raises(ConfigurationError, match="no free port"):
        Ports.chosen(settings(clickhouse=port))


def test_a_port_named_twice_is_refused() -> None:
    port = free_port()

    with pytest.raises(ConfigurationError) as raised:
        Ports.chosen(settings(http=port, clickhouse=port))

    assert f"port {port} is named for webhooks and for ClickHouse" in str(raised.value)
    assert "--http-port or --clickhouse-port" in str(raised.value)


def test_all_ports_that_are_in_use_are_named_at_once() -> None:
    with socket.create_server((LOOPBACK, 0)) as one, socket.create_server((LOOPBACK, 0)) as other:
        http, clickhouse = (server.getsockname()[1] for server in (one, other))

        with pytest.raises(ConfigurationError) as raised:
            Ports.chosen(settings(http=http, clickhouse=clickhouse))

    for port, line in zip((http, clickhouse), str(raised.value).splitlines(), strict=True):
        assert line.startswith(f"port {port} on {LOOPBACK}")


def test_a_program_that_starts_first_gets_the_port_of_none_that_starts_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = few_ports(monkeypatch, 11)
    clients = Ports(http=ports[0], kafka=ports[1], clickhouse=ports[2])
    programs = Programs(settings=settings(workers=2, sinks=2), file=None, data=tmp_path, ports=clients)
    launches = [program.launch for program in programs.all().values()]

    argv = [argument for launch in launches for argument in launch().argv]

    controller = int(argv[argv.index("--controller-port") + 1])
    assert {controller, *programs.admin_ports.values()} == set(ports[3:])


@pytest.mark.parametrize(
    ("host", "told"),
    [("::1", "[::1]"), ("::", "[::1]"), ("0.0.0.0", LOOPBACK), ("localhost", "localhost")],  # noqa: S104 - not bound
)
def test_the_address_of_webhooks_is_a_url(tmp_path: Path, host: str, told: str) -> None:
    ports = Ports(http=8080, kafka=9092, clickhouse=8123)

    programs = Programs(settings=settings(host=host), file=None, data=tmp_path, ports=ports)

    assert programs.http == f"http://{told}:8080"


async def test_a_role_without_room_for_another_connection_lives(tmp_path: Path) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()  # what is answered before the request was read is lost, too

    async with await asyncio.start_server(refuse, LOOPBACK, 0) as server:
        port = server.sockets[0].getsockname()[1]
        ports = Ports(http=port, kafka=free_port(), clickhouse=free_port())
        ingest = Programs(settings=settings(), file=None, data=tmp_path, ports=ports).all()[Kind.INGEST].launch()
        assert ingest.alive is not None
        assert await ingest.alive()
        assert not await ingest.ready()


async def test_what_takes_connections_and_answers_nothing_gives_no_sign_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.programs.PATIENCE", 0.2)
    with socket.create_server((LOOPBACK, 0)) as mute:
        port = mute.getsockname()[1]
        monkeypatch.setattr("deploy.programs.free_port", lambda *_, **__: port)
        programs = Programs(
            settings=settings(), file=None, data=tmp_path, ports=Ports(http=port, kafka=port, clickhouse=port)
        )
        for name, program in programs.all().items():
            alive = program.launch().alive
            assert alive is not None, name
            assert not await alive(), name
