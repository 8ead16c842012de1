import socket

import pytest

from deploy.ports import chosen_port, free_port
from streams.contracts.errors import ConfigurationError


def test_a_port_in_use_is_named_with_its_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigurationError) as raised:
            chosen_port("127.0.0.1", port, purpose="Kafka", flag="--kafka-port")

    assert f"port {port} on 127.0.0.1, wanted for Kafka, is in use" in str(raised.value)
    assert "--kafka-port" in str(raised.value)


def test_zero_picks_a_port_that_can_be_listened_on() -> None:
    port = chosen_port("127.0.0.1", 0, purpose="Kafka", flag="--kafka-port")

    with socket.create_server(("127.0.0.1", port)):
        assert free_port() != port


def test_a_port_that_is_meant_for_another_is_not_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr("deploy.ports.LOWEST", port)
    monkeypatch.setattr("deploy.ports.HIGHEST", port)

    assert free_port() == port
    with pytest.raises(ConfigurationError, match="no free port"):
        free_port(besides=[port])
