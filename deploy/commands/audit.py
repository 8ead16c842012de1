"""``todoke audit``: whether the books balance."""

import asyncio
import json
from dataclasses import asdict
from typing import Any

import click

from deploy.audit import NAMED, Books, Count, audit
from deploy.commands.options import Invocation, common_options
from deploy.exit import Exit
from deploy.table import table
from streams.contracts.clock import SystemClock

COLUMNS = ("receipts", "accepted", "unique", "duplicate", "dead_lettered")


@click.command("audit")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until everything is worked off.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@common_options
def command(invocation: Invocation, *, wait: float, as_json: bool) -> int:
    r"""Check the books: for each accepted post, accepted = unique + duplicate + dead-lettered, in ClickHouse.

    Exits 0 only if all of that holds: every stage has worked off everything, no answered post lacks an event, the
    tables hold as many rows as the receipts count, and no log lost anything. Otherwise it says what is missing and
    names the first receipts. Posts that were never answered, because their process died before, are shown and are no
    loss: their sender sends them again.

    \b
    Examples:
      todoke audit
      todoke audit --wait 120
      todoke audit --json | jq .balanced
    """
    environment = invocation.environment()
    invocation.start_logging(environment, "audit")
    invocation.mention_defaults(environment, ("kafka", "bootstrap_servers"))
    books = asyncio.run(audit(environment.settings, wait=wait, clock=SystemClock()))
    problems = books.problems()
    click.echo(json.dumps(_document(books), ensure_ascii=False, indent=2) if as_json else _text(books))
    return Exit.FAILED if problems else Exit.OK


def _document(books: Books) -> dict[str, Any]:
    problems = books.problems()
    return {
        "balanced": not problems,
        "problems": problems,
        "stages": [asdict(stage) for stage in books.stages],
        "total": asdict(books.total),
        "by_status": {status: asdict(count) for status, count in books.by_status.items()},
        "events": books.events,
        "dead_letters": books.dead_letters,
        "losses": books.losses,
        "missing": list(books.missing),
        "lost": list(books.lost),
    }


def _text(books: Books) -> str:
    problems = books.problems()
    rows = [(status, *_figures(count)) for status, count in sorted(books.by_status.items())]
    behind = ", ".join(f"{stage.name} {stage.behind}" for stage in books.stages)
    parts = [
        table(("posts", *(column.replace("_", "-") for column in COLUMNS)), [*rows, ("all", *_figures(books.total))]),
        f"rows in ClickHouse: {books.events} events, {books.dead_letters} dead letters, {books.losses} losses",
        f"records behind: {behind}",
    ]
    if books.missing:
        parts.append(f"posts that lack events or have too many (the first {NAMED}):\n{_listed(books.missing)}")
    if books.lost:
        parts.append(f"spans of offsets that were gone (the first {NAMED}):\n{_listed(books.lost)}")
    verdict = "the books do not balance:\n" + "\n".join(f"  {problem}" for problem in problems)
    return "\n\n".join([*parts, verdict if problems else "the books balance"])


def _figures(count: Count) -> tuple[str, ...]:
    return tuple(str(getattr(count, column)) for column in COLUMNS)


def _listed(rows: tuple[Any, ...]) -> str:
    return table(tuple(rows[0]), [tuple(map(str, row.values())) for row in rows])
