"""``todoke replay``: dead letters, or a span of the inbox, through the pipeline again."""

import asyncio
import json
from collections import Counter
from dataclasses import asdict
from typing import Any

import click

from deploy.commands.options import CLICKHOUSE, KAFKA, Invocation, common_options
from deploy.dead_letters import Selection
from deploy.exit import Exit
from deploy.inbox_replay import NAMED, InboxReplay, Outcome
from deploy.replay import Replay
from deploy.span import span
from deploy.table import table
from streams.contracts.clock import SystemClock
from streams.contracts.dead_letter import Reason
from streams.contracts.errors import ConfigurationError

DRY = "nothing was done: this was a dry run"
ARRIVING = "`todoke audit` tells when all of it has arrived"
TROUBLES = 5
"""Kinds of trouble that are shown, the most frequent first."""


@click.command("replay")
@click.option(
    "--reason", "reasons", multiple=True, type=click.Choice([reason.value for reason in Reason]), help="Only these."
)
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only letters of this source.")
@click.option(
    "--since", metavar="TIME", help="Only what was received since then: 2026-03-02T09:00:00Z, or 2h for 2 h ago."
)
@click.option("--until", metavar="TIME", help="Only what was received before that, likewise.")
@click.option("--again", is_flag=True, help="Also letters that were replayed before.")
@click.option(
    "--inbox", is_flag=True, help="Instead of dead letters, the records of the inbox, by when they entered it."
)
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@common_options
def command(
    invocation: Invocation,
    *,
    reasons: tuple[str, ...],
    sources: tuple[str, ...],
    since: str | None,
    until: str | None,
    again: bool,
    inbox: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    r"""Put dead letters through the pipeline again, once what was wrong has been mended. Nothing counts twice.

    What can be read now becomes a post with a receipt of its own; what still cannot stays where it is. A letter is
    replayed once, unless --again is given. The original stays counted where it was, and the table `replays` links both.

    With --inbox, and a span of time, copies of the inbox's records go through once more, and change no count.

    \b
    Examples:
      todoke replay --dry-run
      todoke replay --reason record_time --source shop --since 7d
      todoke replay --inbox --since 2h --dry-run
    """
    environment = invocation.environment(needs=(KAFKA, CLICKHOUSE))
    invocation.start_logging(environment, "replay", is_brief=True)
    clock = SystemClock()
    wanted = span(since, until, clock.now())
    if inbox:
        if wanted.is_all or reasons or sources or again:
            raise ConfigurationError(
                "--inbox needs --since or --until, and takes neither --reason, --source nor --again"
            )
        copying = InboxReplay(settings=environment.settings, clock=clock, dry_run=dry_run)
        asyncio.run(copying.run(wanted))
        outcome = copying.outcome
        click.echo(json.dumps(asdict(outcome), indent=2) if as_json else _copied(outcome, dry_run=dry_run))
        return Exit.FAILED if outcome.lost_places else Exit.OK
    replay = Replay(settings=environment.settings, clock=clock, dry_run=dry_run)
    selection = Selection(reasons=reasons, sources=sources, span=wanted)
    asyncio.run(replay.run(selection, again=again))
    if not replay.tallies and (unknown := [name for name in sources if name not in environment.settings.sources]):
        raise ConfigurationError(
            f"no dead letter of {' or '.join(unknown)} is left to be replayed, and there is no such source; there is: "
            + ", ".join(environment.settings.sources)
        )
    click.echo(
        json.dumps(_document(replay), ensure_ascii=False, indent=2) if as_json else _text(replay, dry_run=dry_run)
    )
    return Exit.OK


def _document(replay: Replay) -> dict[str, Any]:
    return {reason: asdict(tally) for reason, tally in sorted(replay.tallies.items())}


def _text(replay: Replay, *, dry_run: bool) -> str:
    if not replay.tallies:
        return "no dead letter is left to be replayed"
    rows = [
        (reason, *map(str, (tally.letters, tally.readable, tally.events, tally.known, tally.events - tally.known)))
        for reason, tally in sorted(replay.tallies.items())
    ]
    told = [table(("reason", "letters", "readable now", "events in them", "known", "new"), rows), _troubles(replay)]
    return "\n\n".join(part for part in (*told, _done(replay, dry_run=dry_run)) if part)


def _done(replay: Replay, *, dry_run: bool) -> str:
    if dry_run:
        return DRY
    if not any(tally.readable for tally in replay.tallies.values()):
        return "nothing was replayed: mend what is named above, and run this again"
    return ARRIVING


def _troubles(replay: Replay) -> str:
    troubles = Counter[str]()
    for tally in replay.tallies.values():
        troubles.update(tally.troubles)
    listed = troubles.most_common(TROUBLES)
    lines = [f"  {count} × {trouble}" for trouble, count in listed]
    if others := troubles.total() - sum(count for _, count in listed):
        lines.append(f"  {others} × something else: --json lists all")
    return "\n".join(["what still cannot be read:", *lines]) if lines else ""


def _copied(outcome: Outcome, *, dry_run: bool) -> str:
    rows = [
        ("copied" if not dry_run else "to be copied", outcome.copied),
        ("not answered by the worker yet", outcome.pending),
        ("among the dead letters", outcome.given_up),
        ("older than the horizon, or within an hour of it", outcome.too_old),
        ("without events", outcome.bare),
        ("lost behind the worker", len(outcome.lost_places)),
    ]
    told = [table(("records of the inbox", "number"), [(what, str(number)) for what, number in rows])]
    if outcome.lost_places:
        places = ", ".join(outcome.lost_places[:NAMED]) + (" …" if len(outcome.lost_places) > NAMED else "")
        told.append(
            f"the worker answered these, and ClickHouse does not know them: {places}. Wait until the sink has worked "
            "off everything (`todoke audit`); what remains was lost in the outbox, and a replay would only hide it"
        )
    return "\n\n".join([*told, DRY if dry_run else ARRIVING if outcome.copied else "nothing was copied"])
