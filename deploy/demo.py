"""What a newcomer sees: recorded sample payloads on their way through the whole pipeline."""

import asyncio
import shutil
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp

from deploy.posting import Payload, Receipt, form_of, post, signed
from deploy.settings import Settings
from deploy.table import table
from deploy.tables import Tables
from ingest.settings import ProviderName
from streams.contracts.clock import Clock, Deadline
from streams.contracts.errors import TodokeError

OWN_EVENT = (
    '{"type":"delivered","message_id":"1@example.com","recipient":"user@example.com",'
    '"occurred_at":"2026-03-02T09:00:04Z"}'
)
PATIENCE = 60.0
"""Seconds until the samples must have come through."""
LOOK_AGAIN = 0.1
SHOWN = 20
TIMES = ("queued", "delivered", "failed", "bounced")
ROOM_FOR_TIMES = 154
"""Columns of a terminal in which the times stay whole; in a narrower one they would be cut, and the rest with them."""

ARRIVED = """
select receipt, accepted, `unique`, duplicate, dead_lettered
from receipts
where balanced and has({receipts:Array(String)}, receipt)
"""
LIFECYCLES = """
select
    source,
    recipient,
    state,
    formatDateTime(queued_at, '%F %T') as queued,
    formatDateTime(delivered_at, '%F %T') as delivered,
    formatDateTime(failed_at, '%F %T') as failed,
    formatDateTime(bounced_at, '%F %T') as bounced,
    if(failed_reason = '', bounced_reason, failed_reason) as reason,
    delivery_seconds,
    subject
from lifecycles
order by first_seen_at desc, recipient
limit {limit:UInt32}
"""


class NotArrivedError(TodokeError):
    """The samples were accepted and did not come out at the other end in time."""

    retriable = True


def samples() -> list[Payload]:
    """Give the recorded payloads of Customers Mail Cloud, as the provider sent them."""
    folder = files("deploy") / "samples"
    found = sorted(
        (entry for entry in folder.iterdir() if not entry.name.startswith("_")), key=lambda entry: entry.name
    )
    bodies = [(entry.name, entry.read_bytes()) for entry in found]
    return [Payload(name=name, form=form_of(name, body), body=body) for name, body in bodies]


async def post_samples(settings: Settings, url: str, clock: Clock) -> list[Receipt]:
    """Post the samples as the first source of Customers Mail Cloud; none if there is no such source.

    Raises:
        TodokeError: they are not taken.
    """
    name = _of_the_samples(settings)
    if name is None:
        return []
    secrets = settings.sources[name]
    receipts = []
    async with aiohttp.ClientSession() as session:
        for payload in samples():
            body, headers = signed(payload, secrets)
            endpoint = f"{url}/v1/webhooks/{name}"
            receipts.append(await post(session, endpoint, body, headers, patience=PATIENCE, clock=clock))
    return receipts


def _of_the_samples(settings: Settings) -> str | None:
    """Name the first source of Customers Mail Cloud."""
    return next(
        (name for name, source in settings.sources.items() if source.provider is ProviderName.CUSTOMERS_MAIL_CLOUD),
        None,
    )


async def arrivals(tables: Tables, receipts: Sequence[Receipt], clock: Clock) -> list[dict[str, Any]]:
    """Wait until ClickHouse holds everything of some posts and give their rows of the books.

    Raises:
        NotArrivedError: it does not, in time.
    """
    deadline = Deadline(PATIENCE, clock)
    wanted = "[" + ",".join(f"'{receipt.receipt}'" for receipt in receipts) + "]"
    while True:
        rows = await tables.rows(ARRIVED, receipts=wanted)
        if len(rows) >= len(receipts):
            return rows
        if not deadline.remaining():
            raise NotArrivedError(
                f"{len(receipts) - len(rows)} of {len(receipts)} posts did not reach ClickHouse within {PATIENCE:g} s: "
                "the logs in the data folder say why"
            )
        await asyncio.sleep(LOOK_AGAIN)


async def show(settings: Settings, http: str, clickhouse: str, clock: Clock) -> str:
    """Post the samples and tell what became of them, and what to try next."""
    receipts = await post_samples(settings, http, clock)
    async with Tables(settings.clickhouse) as tables:
        books = await arrivals(tables, receipts, clock)
        lifecycles = await tables.rows(LIFECYCLES, limit=str(SHOWN))
    parts = [_told(books), lifecycles_table(lifecycles, _terminal()), _next(settings, clickhouse)]
    return "\n\n".join(part for part in parts if part)


def _told(books: Sequence[dict[str, Any]]) -> str:
    if not books:
        return "no source is of Customers Mail Cloud, so the recorded samples were not posted"
    sums = {key: sum(row[key] for row in books) for key in ("accepted", "unique", "duplicate", "dead_lettered")}
    again = ": they were here before, and nothing counts twice" if not sums["unique"] and sums["duplicate"] else ""
    return (
        f"{len(books)} recorded posts with {sums['accepted']} events: {sums['unique']} new, "
        f"{sums['duplicate']} duplicates, {sums['dead_lettered']} unreadable{again}"
    )


def lifecycles_table(lifecycles: Sequence[dict[str, Any]], columns: int | None) -> str:
    """Lay out lifecycles, without their times where these would be cut.

    Args:
        lifecycles: rows of the query above.
        columns: of the terminal; nothing where the output need not fit.
    """
    if not lifecycles:
        return ""
    head = ("source", "recipient", "state", *TIMES, "seconds", "subject", "reason")
    keys = tuple("delivery_seconds" if name == "seconds" else name for name in head)
    rows = [tuple("" if row[key] is None else str(row[key]) for key in keys) for row in lifecycles]
    narrow = columns is not None and columns < ROOM_FOR_TIMES
    used = [at for at, name in enumerate(head) if any(row[at] for row in rows) and not (narrow and name in TIMES)]
    told = table(
        [head[at] for at in used],
        [[row[at] for at in used] for row in rows],
        fit=columns,
        elastic=("subject", "reason"),
    )
    times = "their times are in mail.lifecycles" if narrow else "times in UTC"
    return f"The latest lifecycles in ClickHouse, {times}:\n\n{told}"


def _terminal() -> int | None:
    """Tell the width of the terminal; output that goes elsewhere needs not fit."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _next(settings: Settings, clickhouse: str) -> str:
    todoke = _as_typed(Path(sys.argv[0]))
    topic = settings.topics.topics().lifecycles.name
    database = settings.clickhouse.database
    query = f"select state, count() from {database}.lifecycles group by state format PrettyCompact"  # noqa: S608 - shown
    account = settings.clickhouse
    user = f" -u {account.user}" if account.password.get_secret_value() else ""  # curl asks for the password
    data = f" --data {settings.local.data}" if str(settings.local.data) != "data" else ""
    sending = post_one(settings, f"{todoke} send{data}")
    sending = f"  post one      {sending}\n" if sending else ""
    return (
        "Try, in another terminal:\n"
        f"{sending}"
        f"  query         curl -s{user} {clickhouse} --data-binary '{query}'\n"
        f"  consume       {todoke} consume{data} {topic}"
    )


def post_one(settings: Settings, send: str) -> str:
    """Give a command that posts what some source takes: an event of one's own, else a sample, else nothing.

    The event is new and can be seen afterwards; the samples have come already.

    Args:
        settings: with the sources.
        send: how `todoke send` is typed here.
    """
    names = list(settings.sources)
    name = next((name for name in names if settings.sources[name].takes_events), None)
    before, payload = f"echo '{OWN_EVENT}' | ", "--form ndjson -"
    if name is None:
        name = _of_the_samples(settings)
        before, payload = "", _as_typed(Path(str(files("deploy") / "samples" / "deliveries-succeeded.json")))
    if name is None:
        return ""
    source = "" if name == names[0] else f" --source {name}"
    return f"{before}{send}{source} {payload}"


def _as_typed(path: Path) -> str:
    """Write a path the shorter way, from the current folder where it lies below."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(path)
