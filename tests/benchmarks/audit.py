"""How long `todoke audit` takes on large tables: all of it, and the last hour.

    python -m tests.benchmarks.audit --events 10000000 --per-post 20

Fills the tables by INSERT … SELECT, as the sink would have: posts of four ingest processes over thirty days, each in
two parts on two shards. Measures what ClickHouse does; what Kafka is asked besides takes some hundredths of a second.
"""

import argparse
import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deploy.audit import read_tables
from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.settings import Settings
from deploy.span import ALL, Span
from deploy.tables import Tables
from sinks.clickhouse.migrations import migrate
from sinks.settings import ClickHouseConnection

DAYS = 30
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
VIEWS = ("lifecycle_states_of_events", "suppression_states_of_events", "hourly_counts_of_events")
"""Nothing of these is read by an audit, and filling them takes most of the time."""
RECEIPT = """concat(
    substring(lower(hex(MD5(toString({post} % 4)))), 1, 20), lower(leftPad(hex(intDiv({post}, 4) + 1), 12, '0'))
)"""
RECEIVED = "fromUnixTimestamp64Milli({begin} + intDiv({post} * {step}, 1000), 'UTC')"
EVENTS = """
insert into events (id, source, provider, type, message_id, recipient, occurred_at, received_at, receipt)
select
    lower(hex(MD5(toString(number)))), 'cmc', 'customers-mail-cloud', ['queued', 'delivered'][number % 2 + 1],
    concat('m', toString(intDiv(number, 2)), '@example.com'), concat('u', toString(number % 100000), '@example.jp'),
    {received}, {received}, {receipt}
from numbers({events})
"""
PARTS = """
insert into receipt_parts (receipt, source, received_at, accepted, `unique`, duplicate, dead_lettered, places)
select {receipt}, 'cmc', {received}, {size}, held, 0, 0, [(shard, shard, intDiv(number, 50), held, 0)]
from (
    select number, shard, if(shard = 0, intDiv({size} + 1, 2), intDiv({size}, 2)) as held
    from numbers({posts}) array join [0, 1] as shard
)
where held > 0
"""
ANSWERED = (
    "insert into answered_posts select substring(lower(hex(MD5(toString(number)))), 1, 20), {posts}, [] from numbers(4)"
)
ROUNDS = 3


async def measure(events: int, size: int) -> None:
    """Fill the tables and print times."""
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedClickHouse(data=Path(folder) / "clickhouse") as server:
            connection = ClickHouseConnection(host=server.host, port=server.port, answer_timeout=3600)
            await migrate(connection)
            settings = Settings(clickhouse=connection)
            posts = events // size
            await fill(settings, posts, size)
            print(f"{events:,} events in {posts:,} posts of {size}, over {DAYS} days")
            last = Span(since=BEGIN + timedelta(days=DAYS, hours=-1), until=BEGIN + timedelta(days=DAYS))
            for what, span in (("everything", ALL), ("the last hour", last)):
                print(f"audit of {what:<14} {await best(settings, span)}")


async def fill(settings: Settings, posts: int, size: int) -> None:
    """Write what the sink would have written."""
    step = DAYS * 86_400_000_000 // posts
    begin = int(BEGIN.timestamp() * 1000)

    def received(post: str) -> str:
        return RECEIVED.format(begin=begin, post=post, step=step)

    of_event = f"intDiv(number, {size})"
    async with Tables(settings.clickhouse) as tables:
        for view in VIEWS:
            await tables.rows(f"drop view {view}")
        times = {"receipt": RECEIPT.format(post=of_event), "received": received(of_event)}
        await tables.rows(EVENTS.format(events=posts * size, **times))
        times = {"receipt": RECEIPT.format(post="number"), "received": received("number")}
        await tables.rows(PARTS.format(posts=posts, size=size, **times))
        await tables.rows(ANSWERED.format(posts=posts))


async def best(settings: Settings, span: Span) -> str:
    """Audit some times; give the shortest and the longest, and what was found."""
    seconds, told = [], set()
    for _ in range(ROUNDS):
        began = time.perf_counter()
        books = await read_tables(settings, (), span)
        seconds.append(time.perf_counter() - began)
        told.add("; ".join(books.problems()) or f"{books.total.receipts:,} posts balance")
    found = ", ".join(told)
    return f"{min(seconds):6.2f} to {max(seconds):.2f} s  {found}"


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--per-post", type=int, default=20)
    given = parser.parse_args()
    asyncio.run(measure(given.events, given.per_post))


if __name__ == "__main__":
    main()
