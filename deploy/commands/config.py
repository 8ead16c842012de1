"""``todoke config``: the settings in force and where each came from."""

import json
from typing import Any

import click

from deploy.commands.options import Invocation, common_options
from deploy.table import table


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--changed", is_flag=True, help="Only what is no default.")
@common_options
def command(invocation: Invocation, *, as_json: bool, changed: bool) -> None:
    r"""Show the settings in force and where each came from. Secrets are masked.

    \b
    Examples:
      todoke config
      todoke config --changed
      TODOKE_TOPICS__SHARDS=12 todoke config --json
    """
    environment = invocation.environment(idle=True)
    rows = [row for row in environment.rows() if not changed or row[2] != "default"]
    if as_json:
        entries = [{"key": key, "value": value, "origin": origin} for key, value, origin in rows]
        click.echo(json.dumps(entries, ensure_ascii=False, indent=2))
    else:
        click.echo(
            table(("key", "value", "from"), [(key, _shown(value), origin) for key, value, origin in rows], limit=200)
        )


def _shown(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
