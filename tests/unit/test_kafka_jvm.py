from pathlib import Path

import pytest

from deploy.embedded.kafka import jvm
from streams.contracts.errors import ConfigurationError


def test_runs_the_given_jars_in_their_order_with_the_given_heap() -> None:
    jars = (Path("/cache/b.jar"), Path("/cache/a.jar"))
    command = jvm.broker_command(jars, heap="512m", log=Path("/data/broker.log"), temporary=Path("/data/tmp"))
    assert command[command.index("-cp") + 1] == "/cache/b.jar:/cache/a.jar"
    assert "-Xmx512m" in command
    assert command[-2:] == ["kafka.Kafka", "server.properties"]


def test_a_colon_in_a_path_would_make_two_of_it() -> None:
    with pytest.raises(ConfigurationError, match="without a colon"):
        jvm.format_command((Path("/a:b/c.jar"),), cluster_id="x", temporary=Path("/data/tmp"))


def test_no_variable_of_the_user_reaches_java() -> None:
    assert list(jvm.ENVIRONMENT) == ["LC_ALL"]


@pytest.mark.parametrize("heap", ["128m", "1g", "2G"])
def test_takes_a_sensible_heap(heap: str) -> None:
    assert jvm.checked_heap(heap) == heap


@pytest.mark.parametrize("heap", ["", "256", "64m", "1t", "-1g", "256m -XX:+Evil"])
def test_says_how_to_write_the_heap(heap: str) -> None:
    with pytest.raises(ConfigurationError, match="like 256m"):
        jvm.checked_heap(heap)
