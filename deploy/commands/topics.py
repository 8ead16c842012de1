"""``todoke topics``: create or check the topics."""

import asyncio

import click

from deploy.commands.options import KAFKA, Invocation, common_options
from deploy.exit import Exit
from deploy.table import table
from deploy.topics import TopicState, ensure_topics


@click.command("topics")
@click.option("--check", is_flag=True, help="Create nothing, only compare.")
@common_options
def command(invocation: Invocation, *, check: bool) -> int:
    r"""Create the topics that are missing and compare the others with what the promises need.

    Existing topics are never changed. Exits 0 only if all of them are there and as they should be.

    \b
    Examples:
      todoke topics
      todoke topics --check
      TODOKE_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 TODOKE_TOPICS__SHARDS=12 todoke topics
    """
    environment = invocation.environment(needs=(KAFKA,))
    invocation.start_logging(environment, "topics", is_brief=True)
    settings = environment.settings
    states = asyncio.run(ensure_topics(settings.kafka, settings.topics, create=not check))
    rows = [(state.name, str(state.partitions or "-"), _told(state)) for state in states]
    click.echo(table(("topic", "partitions", "state"), rows, limit=160))
    return Exit.FAILED if any(state.differences for state in states) else Exit.OK


def _told(state: TopicState) -> str:
    if state.differences:
        return "; ".join(state.differences)
    return "created" if state.created else "as it should be"
