"""``todoke migrate``: apply or check the ClickHouse schema."""

import asyncio

import click

from deploy.commands.options import CLICKHOUSE, Invocation, common_options
from deploy.exit import Exit
from sinks.clickhouse import migrations


@click.command("migrate")
@click.option("--check", is_flag=True, help="Apply nothing, only compare.")
@common_options
def command(invocation: Invocation, *, check: bool) -> int:
    r"""Make the database and apply what it lacks of the schema.

    With --check exits 0 only if nothing is missing and nothing was applied with another text.

    \b
    Examples:
      todoke migrate
      todoke migrate --check
      TODOKE_CLICKHOUSE__HOST=clickhouse TODOKE_CLICKHOUSE__PASSWORD_FILE=/run/secrets/clickhouse todoke migrate
    """
    environment = invocation.environment(needs=(CLICKHOUSE,))
    invocation.start_logging(environment, "migrate", is_brief=True)
    connection = environment.settings.clickhouse
    if not check:
        applied = asyncio.run(migrations.migrate(connection))
        click.echo(f"applied {', '.join(applied)}" if applied else "the schema is current")
        return Exit.OK
    state = asyncio.run(migrations.check(connection))
    for names, told in ((state.missing, "missing"), (state.altered, "applied with another text")):
        for name in names:
            click.echo(f"{name}: {told}")
    for name in state.unknown:
        click.echo(f"{name}: applied by a later version")
    if state.is_current:
        click.echo("the schema is current")
    return Exit.OK if state.is_current else Exit.FAILED
