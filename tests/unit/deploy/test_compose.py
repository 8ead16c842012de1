"""The compose file against the commands and settings that it names.

It is read line by line, for what it has of each kind, since the project needs no parser of YAML for anything else.
"""

import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from deploy.cli import COMMANDS
from deploy.environment import read
from ingest.settings import check

TEXT = (Path(__file__).parents[3] / "deploy" / "compose.yaml").read_text(encoding="utf-8")
VALUES = {name: value.strip('"') for name, value in re.findall(r"^ +([A-Z][A-Z_0-9]+): (.+)$", TEXT, re.MULTILINE)}
ROLES = {name: value for name, value in VALUES.items() if name.startswith("TODOKE_")}
ARGUMENTS = [line.replace('"', "").split(", ") for line in re.findall(r"^    command: \[(.+)\]$", TEXT, re.MULTILINE)]
SERVICES = dict(
    re.findall(
        r"^  ([a-z-]+):\n((?:    .*\n|\n)+)",
        TEXT.partition("\nservices:\n")[2].partition("\nvolumes:\n")[0] + "\n",
        re.MULTILINE,
    )
)
PORTS = re.findall(r"^ +- (\S+:\d+)$", TEXT, re.MULTILINE)


def test_the_variables_are_settings_and_the_servers_are_where_they_say() -> None:
    settings = read(variables=ROLES).settings

    assert f"INSIDE://{settings.kafka.bootstrap_servers}," in VALUES["KAFKA_ADVERTISED_LISTENERS"]
    assert re.search(rf"^  {settings.kafka.bootstrap_servers.partition(':')[0]}:$", TEXT, re.MULTILINE)
    assert re.search(rf"^  {settings.clickhouse.host}:$", TEXT, re.MULTILINE)
    account = settings.clickhouse
    assert (account.user, account.password.get_secret_value(), account.database) == (
        VALUES["CLICKHOUSE_USER"],
        VALUES["CLICKHOUSE_PASSWORD"],
        VALUES["CLICKHOUSE_DB"],
    )
    assert settings.topics.replication_factor == 1


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=" ".join)
def test_every_command_exists_and_takes_its_options(arguments: list[str]) -> None:
    first, *rest = arguments
    command: click.Command = import_module(COMMANDS[first].module).command
    while isinstance(command, click.Group) and rest:
        command = command.commands[rest.pop(0)]

    command.make_context(first, rest)


def test_every_role_is_there_once() -> None:
    assert sorted(" ".join(arguments).split(" --")[0] for arguments in ARGUMENTS) == [
        "audit",
        "ingest",
        "migrate",
        "sink clickhouse",
        "sink topics",
        "topics",
        "worker",
    ]


def test_no_source_is_open_to_other_machines() -> None:
    settings = read(variables=ROLES).settings
    (ingest,) = (arguments for arguments in ARGUMENTS if arguments[0] == "ingest")
    host = ingest[ingest.index("--host") + 1]

    check(settings.ingest.model_copy(update={"host": host}), settings.sources)
    assert len(PORTS) == 3
    assert all(port.startswith("127.0.0.1:") for port in PORTS)


def test_a_role_is_granted_more_time_to_stop_than_it_takes() -> None:
    (grace,) = re.findall(r"^  stop_grace_period: (\d+)s$", TEXT, re.MULTILINE)

    assert float(grace) > read(variables=ROLES).settings.stop.deadline


def test_the_image_is_built_by_one_service_for_all() -> None:
    """Builds of one name at the same time end with "already exists", as at the first ``up`` of a current Docker."""
    assert [name for name, text in SERVICES.items() if re.search(r"^    build:", text, re.MULTILINE)] == ["topics"]
    assert len(re.findall(r"^ +build:", TEXT, re.MULTILINE)) == 1


def test_every_service_is_started_again_when_it_dies() -> None:
    assert len(SERVICES) == 9
    assert [
        name for name, text in SERVICES.items() if not re.search(r"^    (restart: |<<: \*role$)", text, re.MULTILINE)
    ] == []


@pytest.mark.parametrize("name", ["kafka", "clickhouse"])
def test_a_server_is_healthy_where_the_roles_look_for_it(name: str) -> None:
    """ClickHouse's image answers on loopback while it prepares its folder, and ends that server before the real one."""
    (test,) = re.findall(r"^      test: (.+)$", SERVICES[name], re.MULTILINE)

    assert re.search(rf"\b{name}\b[:/]\d+", test)
