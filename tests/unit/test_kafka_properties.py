import pytest

from deploy.embedded.kafka.properties import render, server_properties
from streams.contracts.topics import OUTBOX_LIMIT


def test_listens_on_loopback_only() -> None:
    properties = server_properties(port=9092, controller_port=9093)
    for name in ("listeners", "advertised.listeners", "controller.quorum.voters"):
        for address in properties[name].replace("@", "//").split(","):
            assert address.split("//")[1].startswith("127.0.0.1:"), name


def test_one_node_replicates_nothing() -> None:
    properties = server_properties(port=9092, controller_port=9093)
    kinds = ("replication.factor", "min.isr", "min.insync.replicas")
    replication = {name: value for name, value in properties.items() if name.endswith(kinds)}
    assert len(replication) == 7
    assert set(replication.values()) == {"1"}


def test_the_largest_record_passes_every_limit() -> None:
    properties = server_properties(port=9092, controller_port=9093)
    assert OUTBOX_LIMIT < int(properties["message.max.bytes"]) <= int(properties["socket.request.max.bytes"])
    # Kafka refuses to start otherwise.
    assert int(properties["socket.request.max.bytes"]) <= int(properties["queued.max.request.bytes"])


def test_topics_come_from_the_topics_command_only() -> None:
    assert server_properties(port=1, controller_port=2)["auto.create.topics.enable"] == "false"


def test_writes_one_property_a_line() -> None:
    assert render({"a.b": "1", "c": "x,y"}) == "a.b=1\nc=x,y\n"


@pytest.mark.parametrize("value", ["two\nlines", "back\\slash", "届け"])
def test_writes_no_value_that_java_would_read_otherwise(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be written plainly"):
        render({"log.dirs": value})
