"""``todoke worker``: the role that correlates events."""

import click

from deploy.commands.options import KAFKA, Invocation, admin_port, common_options
from deploy.environment import Environment
from deploy.roles import Running, run_role
from sinks.clickhouse.history import ClickHouseHistory
from streams.role import WorkerRole


@click.command("worker")
@admin_port
@click.option("--until-idle", is_flag=True, help="End as soon as every event that was there is correlated.")
@common_options
def command(invocation: Invocation, *, port: int | None, until_idle: bool) -> int:
    r"""Correlate events: read the inbox, write what is new and the lifecycles that changed to the outbox.

    Run as many as there are shards, at most; they share the partitions among them. Serves /healthz, /readyz and
    /metrics on its admin port.

    \b
    Examples:
      todoke worker
      todoke worker --until-idle
      TODOKE_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 TODOKE_WORKER__INSTANCE=worker-1 todoke worker
    """
    environment = invocation.environment({("admin", "port"): port}, needs=(KAFKA,))
    invocation.start_logging(environment, "worker")
    settings = environment.settings
    running = Running(name="worker", stop_deadline=settings.stop.deadline, admin=settings.admin, until_idle=until_idle)
    archive = ClickHouseHistory(settings.clickhouse) if _rebuilds(environment) else None
    return run_role(
        lambda: WorkerRole(
            settings=settings.worker, connection=settings.kafka, topics=settings.topics.topics(), archive=archive
        ),
        running,
    )


def _rebuilds(environment: Environment) -> bool:
    """Tell whether ClickHouse is asked for what a lost outbox had said: by default where it is configured at all."""
    asked = environment.settings.worker.rebuild
    return any(key[0] == "clickhouse" for key in environment.origins) if asked is None else asked
