"""``todoke sink``: the roles that write results."""

import click

from deploy.commands.options import CLICKHOUSE, KAFKA, Address, Invocation, admin_port, common_options
from deploy.commands.suggestion import SuggestingGroup
from deploy.roles import Running, run_role
from deploy.settings import Settings
from sinks.role import ClickHouseSinkRole, TopicsSinkRole
from streams.contracts.role import Role

until_idle_option = click.option("--until-idle", is_flag=True, help="End as soon as all that was there is written.")


@click.group("sink", cls=SuggestingGroup)
def command() -> None:
    r"""Write results: into the ClickHouse tables, or onto the public Kafka topics.

    Run as many of each as there are shards, at most; they share the partitions among them. Each serves /healthz,
    /readyz and /metrics on its admin port.

    \b
    Examples:
      todoke sink clickhouse
      todoke sink topics --admin-port 9101
      todoke sink clickhouse --until-idle
    """


@command.command("clickhouse")
@admin_port
@until_idle_option
@common_options
def clickhouse(invocation: Invocation, *, port: int | None, until_idle: bool) -> int:
    r"""Fill the ClickHouse tables.

    \b
    Examples:
      todoke sink clickhouse
      todoke sink clickhouse --until-idle
      TODOKE_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 TODOKE_CLICKHOUSE__HOST=clickhouse todoke sink clickhouse
    """
    return _run(invocation, "sink-clickhouse", (KAFKA, CLICKHOUSE), port=port, until_idle=until_idle)


@command.command("topics")
@admin_port
@until_idle_option
@common_options
def topics(invocation: Invocation, *, port: int | None, until_idle: bool) -> int:
    r"""Write the public topics.

    \b
    Examples:
      todoke sink topics
      todoke sink topics --admin-port 9101
      TODOKE_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 todoke sink topics --until-idle
    """
    return _run(invocation, "sink-topics", (KAFKA,), port=port, until_idle=until_idle)


def _run(invocation: Invocation, name: str, needs: tuple[Address, ...], *, port: int | None, until_idle: bool) -> int:
    environment = invocation.environment({("admin", "port"): port}, needs=needs)
    invocation.start_logging(environment, name)
    settings = environment.settings
    running = Running(name=name, stop_deadline=settings.stop.deadline, admin=settings.admin, until_idle=until_idle)
    return run_role(lambda: _role(name, settings), running)


def _role(name: str, settings: Settings) -> Role:
    topics = settings.topics.topics()
    if name == "sink-topics":
        return TopicsSinkRole(kafka=settings.kafka, topics=topics, settings=settings.sink.topics)
    return ClickHouseSinkRole(
        kafka=settings.kafka, topics=topics, clickhouse=settings.clickhouse, settings=settings.sink.clickhouse
    )
