"""``todoke clickhouse``: the embedded ClickHouse alone."""

import asyncio

import click
import uvloop

from deploy.commands.options import Invocation, common_options
from deploy.embedded.clickhouse.server import serve
from deploy.embedded.clickhouse.settings import ClickHouseServerSettings


@click.command("clickhouse")
@click.option("--port", type=click.IntRange(0, 65535), default=8123, show_default=True, help="0 picks a free one.")
@common_options
def command(invocation: Invocation, *, port: int) -> None:
    r"""Serve ClickHouse's engine alone on this machine, on loopback, with its data below the data folder.

    Speaks ClickHouse's HTTP protocol. clickhouse.user and clickhouse.password are what it asks of its clients. `todoke
    up` runs it this way; use it alone to look at the data of a pipeline that is stopped.

    \b
    Examples:
      todoke clickhouse
      todoke clickhouse --data /var/lib/todoke --port 8123
    """
    environment = invocation.environment(own=True)
    invocation.start_logging(environment, "clickhouse")
    account = environment.settings.clickhouse
    settings = ClickHouseServerSettings(
        path=invocation.data / "clickhouse",
        port=port,
        user=account.user,
        password=account.password,
        max_memory=environment.settings.local.clickhouse_memory,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
