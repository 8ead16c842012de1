"""``todoke consume``: what stands on a public topic, for people."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click
import orjson

from deploy.broker import reader
from deploy.commands.options import KAFKA, Invocation, common_options
from deploy.settings import Settings
from streams.contracts.errors import ConfigurationError

WAIT_MS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What is printed of each record."""

    keys: bool
    headers: bool

    def line(
        self, key: bytes | None, headers: Sequence[tuple[str, bytes]], value: bytes | None, *, is_raw: bool
    ) -> str:
        """Write a record as one JSON value and a newline; bytes that are no UTF-8 show as U+FFFD.

        Args:
            key: of the record.
            headers: of the record.
            value: of the record.
            is_raw: it may be anything, and is always a text.
        """
        written = _json(value) if value is None or is_raw or not _is_line(value) else value.decode()
        parts = []
        if self.keys:
            parts.append(f'"key":{_json(key)}')
        if self.headers:
            named = ",".join(f"{_json(name.encode())}:{_json(content)}" for name, content in headers)
            parts.append(f'"headers":{{{named}}}')
        return f'{{{",".join(parts)},"value":{written}}}\n' if parts else f"{written}\n"


def _json(content: bytes | None) -> str:
    return json.dumps(None if content is None else content.decode("utf-8", "replace"), ensure_ascii=False)


def _is_line(value: bytes) -> bool:
    """Tell whether a value is JSON on one line, as all are that todoke itself has written."""
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return b"\n" not in value


@click.command("consume")
@click.argument("topic")
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--keys", is_flag=True, help='Print {"key": …, "value": …}.')
@click.option("--headers", is_flag=True, help='Print {"headers": {…}, "value": …}.')
@common_options
def command(invocation: Invocation, *, topic: str, follow: bool, keys: bool, headers: bool) -> None:
    r"""Print a public topic from its beginning, one JSON value a line.

    Values are objects; a tombstone is null, and a dead letter, which may be anything, is a text. --keys and --headers
    may be given together. The topics are mail.events, mail.lifecycles, mail.suppressions and mail.deadletter. Reads
    committed records only and belongs to no consumer group, so that it disturbs nobody.

    \b
    Examples:
      todoke consume mail.lifecycles
      todoke consume mail.events --follow | jq -r .recipient
      todoke consume mail.deadletter --headers | jq -r '.headers.reason, .value'
    """
    environment = invocation.environment(needs=(KAFKA,))
    invocation.start_logging(environment, "consume", is_brief=True)
    settings = environment.settings
    public = [entry.name for entry in settings.topics.topics().all() if not entry.internal]
    if topic not in public:
        raise ConfigurationError(f"{topic} is no public topic; there is: {', '.join(public)}")
    try:
        asyncio.run(_print(settings, topic, follow=follow, form=Form(keys=keys, headers=headers)))
    except KeyboardInterrupt:
        return


async def _print(settings: Settings, topic: str, *, follow: bool, form: Form) -> None:
    is_raw = topic == settings.topics.topics().deadletter.name
    options = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    async with reader(settings.kafka, topic, **options) as consumer:
        partitions = list(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        while follow or any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=WAIT_MS)).values():
                lines = [form.line(record.key, record.headers, record.value, is_raw=is_raw) for record in records]
                if not _written(lines):
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
