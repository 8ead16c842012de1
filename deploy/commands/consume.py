"""``todoke consume``: what stands on a public topic, for people."""

import asyncio
import os
import sys

import click

from deploy.broker import reader
from deploy.commands.options import Invocation, common_options
from deploy.settings import Settings
from streams.contracts.errors import ConfigurationError

WAIT_MS = 500


@click.command("consume")
@click.argument("topic")
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--keys", is_flag=True, help="Print the key and a tab before each value.")
@common_options
def command(invocation: Invocation, *, topic: str, follow: bool, keys: bool) -> None:
    r"""Print a public topic from its beginning, one value a line; a tombstone is null.

    The topics are mail.events, mail.lifecycles, mail.suppressions and mail.deadletter. Reads committed records only
    and belongs to no consumer group, so that it disturbs nobody.

    \b
    Examples:
      todoke consume mail.lifecycles
      todoke consume mail.events --follow | jq -r .recipient
    """
    environment = invocation.environment()
    invocation.start_logging(environment, "consume", is_brief=True)
    invocation.mention_defaults(environment, ("kafka", "bootstrap_servers"))
    settings = environment.settings
    public = [entry.name for entry in settings.topics.topics().all() if not entry.internal]
    if topic not in public:
        raise ConfigurationError(f"{topic} is no public topic; there is: {', '.join(public)}")
    try:
        asyncio.run(_print(settings, topic, follow=follow, keys=keys))
    except KeyboardInterrupt:
        return


async def _print(settings: Settings, topic: str, *, follow: bool, keys: bool) -> None:
    options = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    async with reader(settings.kafka, topic, **options) as consumer:
        partitions = list(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        while follow or any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=WAIT_MS)).values():
                if not _written([_line(record.key, record.value, keys=keys) for record in records]):
                    return


def _written(lines: list[str]) -> bool:
    """Print lines; tell whether somebody still reads them, as `head` soon does not."""
    try:
        sys.stdout.writelines(lines)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        return False
    return True


def _line(key: bytes | None, value: bytes | None, *, keys: bool) -> str:
    text = "null" if value is None else value.decode("utf-8", "replace")
    before = f"{(key or b'').decode('utf-8', 'replace')}\t" if keys else ""
    return f"{before}{text}\n"
