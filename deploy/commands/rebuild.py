"""``todoke rebuild``: the ClickHouse tables anew, from the outbox."""

import asyncio
import sys

import click

from deploy.commands.options import CLICKHOUSE, KAFKA, Invocation, common_options
from deploy.exit import Exit
from deploy.settings import Settings
from sinks.clickhouse.rebuild import Rebuild
from sinks.settings import ClickHouseConnection
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.errors import ConfigurationError

LET_GO_WITHIN = 120.0
"""Seconds that the sinks have for letting go of what they write; it takes a session and a handover at most."""

LOOK_AGAIN = 0.5
"""Seconds between two looks how far the sinks are."""


@click.command("rebuild")
@click.option("--partial", is_flag=True, help="Even where the outbox has lost its beginning: the tables lose it, too.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until running sinks have filled the tables again.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
def command(invocation: Invocation, *, partial: bool, wait: float, yes: bool) -> int:
    r"""Empty the ClickHouse tables and have the sinks fill them again, from the beginning of the outbox.

    For tables that somebody has damaged by hand, or after rows that ClickHouse refused can be taken. Sinks may go on
    running meanwhile; one that does not run fills the tables when it is started. Until then queries find little.

    The outbox is kept for topics.horizon_days and a day: what is older exists in the tables alone, and nothing is
    emptied then unless --partial is given.

    Asks first. Exits 1 if the answer is no, or if the tables are not filled again within --wait.

    \b
    Examples:
      todoke rebuild
      todoke rebuild --yes --wait 600 && todoke audit
    """
    environment = invocation.environment(needs=(KAFKA, CLICKHOUSE))
    invocation.start_logging(environment, "rebuild")
    settings = environment.settings
    if not yes and not _is_wanted(settings.clickhouse):
        click.echo("nothing was done")
        return Exit.FAILED
    behind = asyncio.run(_rebuild(settings, partial=partial, wait=wait))
    if behind:
        click.echo(f"the tables are empty, and the sinks have {behind} records to bring: see `todoke audit --wait`")
    else:
        click.echo("the tables hold again what the outbox says")
    return Exit.FAILED if behind and wait else Exit.OK


def _is_wanted(connection: ClickHouseConnection) -> bool:
    """Ask whether the tables are to be emptied.

    Raises:
        ConfigurationError: nobody answers.
    """
    place = f"the database {connection.database} in ClickHouse at {connection.host}:{connection.port}"
    click.echo(f"Empty the tables of {place} and fill them again? [y/N]: ", nl=False, err=True)
    answer = sys.stdin.readline() if sys.stdin else ""  # it may be closed
    if not answer:
        click.echo(err=True)
        raise ConfigurationError(
            "nothing was done, since nobody answers on standard input: give --yes to do it unasked"
        )
    return answer.strip().lower() in {"y", "yes"}


async def _rebuild(settings: Settings, *, partial: bool, wait: float) -> int:
    """Do it, and tell how many records are still to come at the end."""
    clock = SystemClock()
    rebuild = Rebuild(
        kafka=settings.kafka,
        topics=settings.topics.topics(),
        clickhouse=settings.clickhouse,
        settings=settings.sink.clickhouse,
    )
    generation = await rebuild.run(Deadline(LET_GO_WITHIN, clock), partial=partial)
    deadline = Deadline(wait, clock)
    while True:
        behind = await rebuild.behind(generation)
        if not behind or not deadline.remaining():
            return behind
        await asyncio.sleep(min(LOOK_AGAIN, deadline.remaining()))
