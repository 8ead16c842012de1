"""``todoke audit``: whether the books balance."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import click

from deploy.audit import NAMED, Books, Count, audit
from deploy.commands.options import CLICKHOUSE, KAFKA, Invocation, admin_port, common_options
from deploy.exit import Exit
from deploy.public_topics import differences
from deploy.roles import Running, run_role
from deploy.settings import Settings
from deploy.span import Span, span
from deploy.table import counted, table
from deploy.watch import AuditRole, document
from streams.contracts.clock import SystemClock
from streams.contracts.errors import ConfigurationError

COLUMNS = ("receipts", "accepted", "unique", "duplicate", "dead_lettered")
PLACES = "places are shard:offset of the inbox"
SETTLED = 60.0
"""Seconds after which a post has left ingest at the latest; younger ones are not looked at by --watch."""


@click.command("audit")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until everything is worked off.",
)
@click.option(
    "--since", metavar="TIME", help="Only posts received since then: 2026-03-02T09:00:00Z, or 2h for 2 h ago."
)
@click.option("--until", metavar="TIME", help="Only posts received before that, likewise.")
@click.option("--topics", "with_topics", is_flag=True, help="Compare the public topics with the tables, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--watch",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="Audit again and again, and serve the result as metrics and /readyz.",
)
@admin_port
@common_options
def command(
    invocation: Invocation,
    *,
    wait: float,
    since: str | None,
    until: str | None,
    with_topics: bool,
    as_json: bool,
    watch: float | None,
    port: int | None,
) -> int:
    r"""Check the books: for each accepted post, accepted = unique + duplicate + dead-lettered, in ClickHouse.

    Exits 0 only if all of that holds: every stage has worked off everything, no answered post lacks an event, the
    tables hold as many rows as the receipts count, and no log lost anything. Otherwise it says what is missing and
    names the first receipts, with the shards and offsets of the inbox where their parts are or should be. Posts that
    were never answered, because their process died before, are shown and are no loss: their sender sends them again.
    Posts that wait in a journal of ingest are not in the books yet.

    --topics reads the public topics from beginning to end, about 100,000 records a second, and keeps the keys of
    mail.lifecycles in memory, about 200 bytes each; with --since or --until it reads mail.events alone, from there on.

    While posts come in, --until 1m leaves out those that are still under way.

    \b
    Examples:
      todoke audit
      todoke audit --wait 120
      todoke audit --since 1h --until 1m
      todoke audit --topics
      todoke audit --json | jq .balanced
      todoke audit --watch 60 --since 1d --admin-port 9105
    """
    environment = invocation.environment({("admin", "port"): port}, needs=(KAFKA, CLICKHOUSE))
    invocation.start_logging(environment, "audit", is_brief=watch is None)
    settings, clock = environment.settings, SystemClock()
    wanted = span(since, until, clock.now())
    if watch is not None:
        if until is not None or with_topics:
            raise ConfigurationError("--watch takes neither --until nor --topics: it looks at what is new each time")
        running = Running(name="audit", stop_deadline=settings.stop.deadline, admin=settings.admin)
        return run_role(lambda: AuditRole(settings=settings, every=watch, since=since, settled=SETTLED), running)
    books = asyncio.run(_audited(settings, wait, wanted, with_topics=with_topics))
    if as_json:
        click.echo(json.dumps(document(books), ensure_ascii=False, indent=2))
    else:
        click.echo(_text(books, with_topics=with_topics))
    return Exit.FAILED if books.problems() else Exit.OK


async def _audited(settings: Settings, wait: float, wanted: Span, *, with_topics: bool) -> Books:
    books = await audit(settings, wait=wait, clock=SystemClock(), span=wanted)
    return replace(books, topics=tuple(await differences(settings, wanted))) if with_topics else books


def _text(books: Books, *, with_topics: bool) -> str:
    problems = books.problems()
    rows = [(status, *_figures(count)) for status, count in sorted(books.by_status.items())]
    behind = ", ".join(f"{stage.name} {stage.behind}" for stage in books.stages)
    parts = [] if books.span.is_all else [f"posts received {books.span}"]
    parts += [
        table(("posts", *(column.replace("_", "-") for column in COLUMNS)), [*rows, ("all", *_figures(books.total))]),
        "rows in ClickHouse: "
        + ", ".join(
            (
                counted(books.events - books.refused, "event", "events"),
                counted(books.dead_letters, "dead letter", "dead letters"),
                counted(books.losses, "loss", "losses"),
            )
        )
        + (f", and {counted(books.refused, 'refused event', 'refused events')}" if books.refused else ""),
        f"records behind: {behind}",
    ]
    if with_topics and not books.topics:
        compared = "events, lifecycles, suppressions and dead letters" if books.span.is_all else "events"
        parts.append(f"public topics: the same {compared} as the tables")
    if books.missing:
        parts.append(
            f"posts that lack events or have too many (the first {NAMED}; {PLACES}):\n{_listed(books.missing)}"
        )
    if books.rows_missing:
        parts.append(
            f"posts whose rows are not as many as they count (the first {NAMED}):\n{_listed(books.rows_missing)}"
        )
    if books.lost:
        parts.append(f"spans of offsets that were gone (the first {NAMED}):\n{_listed(books.lost)}")
    verdict = "the books do not balance:\n" + "\n".join(f"  {problem}" for problem in problems)
    return "\n\n".join([*parts, verdict if problems else "the books balance"])


def _figures(count: Count) -> tuple[str, ...]:
    return tuple(str(getattr(count, column)) for column in COLUMNS)


def _listed(rows: tuple[Any, ...]) -> str:
    return table(tuple(rows[0]), [tuple(map(str, row.values())) for row in rows])
