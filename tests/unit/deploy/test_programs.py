from pathlib import Path

import pytest

from deploy.ports import free_port, is_free
from deploy.programs import LOOPBACK, Ports, Programs
from deploy.settings import Settings
from streams.contracts.errors import ConfigurationError


def settings(*, http: int = 0, kafka: int = 0, clickhouse: int = 0) -> Settings:
    return Settings.model_validate(
        {"ingest": {"port": http}, "local": {"kafka_port": kafka, "clickhouse_port": clickhouse}}
    )


def few_ports(monkeypatch: pytest.MonkeyPatch, number: int) -> range:
    """Leave so many ports in a row to pick from."""
    lowest = free_port()
    while not all(is_free(LOOPBACK, port) for port in range(lowest, lowest + number)):
        lowest = free_port()
    monkeypatch.setattr("deploy.ports.LOWEST", lowest)
    monkeypatch.setattr("deploy.ports.HIGHEST", lowest + number - 1)
    return range(lowest, lowest + number)


def test_no_two_of_the_picked_ports_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = few_ports(monkeypatch, 3)

    picked = Ports.chosen(settings())

    assert {picked.http, picked.kafka, picked.clickhouse} == set(ports)


def test_a_picked_port_is_none_that_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = few_ports(monkeypatch, 2)

    picked = Ports.chosen(settings(clickhouse=ports[0], kafka=9092))

    assert picked.http == ports[1]


def test_a_port_named_twice_is_refused() -> None:
    port = free_port()

    with pytest.raises(ConfigurationError) as raised:
        Ports.chosen(settings(http=port, clickhouse=port))

    assert f"port {port}, wanted for ClickHouse, is wanted for another part of todoke as well" in str(raised.value)
    assert "--clickhouse-port" in str(raised.value)


def test_a_role_that_starts_first_gets_the_port_of_none_that_starts_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = few_ports(monkeypatch, 7)
    programs = Programs(
        settings=settings(), file=None, data=tmp_path, ports=Ports(http=ports[0], kafka=ports[1], clickhouse=ports[2])
    )

    for program in programs.all().values():
        program.launch()

    assert set(programs.admin_ports.values()) == set(ports[3:])
