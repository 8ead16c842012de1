"""How many events a second the whole pipeline takes on this machine, by stage, and what each role's processor time is.

    make bench
    python -m tests.benchmarks.pipeline --events 1000000 --resends 0.1

Starts `todoke up` in a folder of its own, sends generated mail histories over HTTP like a provider, resends included,
waits until the last event is in the tables and on the topics, lets `todoke audit` check the books and holds the counts
against what was sent. Exit code 1 if anything is lost or counted twice. The sender, Kafka and ClickHouse share the
machine with the roles; their processor time is in the table.

Machines and their load differ, so the cost of an event is told as a ratio, too: how often it could be read and written
as JSON instead, measured before and after.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson
import psutil
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from tests.traffic.mails import Post, Traffic, traffic
from tests.traffic.running import RunningPipeline
from tests.traffic.sender import Answers, send, with_resends

WORKER_UNIQUE = "todoke_worker_unique_total"
TOPICS_EVENTS = "todoke_sink_events_total"
LOOK = 0.5
"""Seconds between two looks at how far each stage is. Each costs what the pipeline could use."""
YARDSTICK_EVENTS = 100_000
STAGES = ("worker", "ClickHouse", "topics")
PATIENCE = 30.0
"""Seconds that no stage may stand still."""


@dataclass(slots=True)
class Stages:
    """When each stage was done with how much, in seconds since the first post."""

    done: dict[str, int] = field(default_factory=dict)
    last_change: dict[str, float] = field(default_factory=dict)

    def note(self, stage: str, count: int, at: float) -> None:
        if count != self.done.get(stage, 0):
            self.done[stage] = count
            self.last_change[stage] = at


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="unique events (default: %(default)s)")
    parser.add_argument(
        "--resends", type=float, default=0.1, help="share of the posts sent again (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=100, help="events a post, the provider's default is 100")
    parser.add_argument("--connections", type=int, default=64, help="posts under way at a time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="todoke-bench-") as folder:
        return uvloop.run(measure(Path(folder), arguments))


async def measure(folder: Path, arguments: argparse.Namespace) -> int:
    say(f"making {arguments.events:,} events")
    mails = traffic(arguments.events, seed=arguments.seed, batch=arguments.batch)
    posts = with_resends(mails.posts, share=arguments.resends, seed=arguments.seed)
    sent = sum(post.events for post in posts)
    say(f"{mails.unique:,} unique events in {len(mails.posts):,} posts; with resends {sent:,} in {len(posts):,}")
    async with RunningPipeline(folder / "data") as pipeline:
        await pipeline.until_audited()
        yardsticks = [yardstick(mails.posts)]
        before, own = pipeline.cpu_seconds(), psutil.Process().cpu_times()
        stages = Stages()
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(watch(pipeline, stages, began, mails.unique))
            answers = await send(posts, pipeline.webhooks, connections=arguments.connections)
            answered = time.monotonic() - began
        own_after = psutil.Process().cpu_times()
        used = {name: after - before.get(name, 0.0) for name, after in pipeline.cpu_seconds().items()}
        used["sender"] = own_after.user + own_after.system - own.user - own.system
        whole = report_stages(answered, sent, mails, stages)
        report_answers(answers)
        report_processors(sent, whole, used)
        yardsticks.append(yardstick(mails.posts))
        report_ratio(sum(used.values()) / sent, yardsticks)
        return await verdict(pipeline, mails)


async def watch(pipeline: RunningPipeline, stages: Stages, began: float, unique: int) -> None:
    """Look at every stage until the last is done."""
    async with aiohttp.ClientSession() as session:
        while min(stages.done.get(stage, 0) for stage in STAGES) < unique:
            for stage, role, name in (("worker", "worker", WORKER_UNIQUE), ("topics", "sink-topics", TOPICS_EVENTS)):
                stages.note(stage, await counter(session, members(pipeline, role), name), time.monotonic() - began)
            rows = await pipeline.select("select count() as n from mail.events")
            stages.note("ClickHouse", rows[0]["n"], time.monotonic() - began)
            if time.monotonic() - began > PATIENCE + max(stages.last_change.values(), default=0.0):
                complaints = [line for line in pipeline.output.splitlines() if "ERROR" in line or "Error" in line]
                raise RuntimeError("\n".join([*complaints[-20:], f"nothing moves any more: {stages.done} of {unique}"]))
            await asyncio.sleep(LOOK)


def members(pipeline: RunningPipeline, role: str) -> list[str]:
    """Give the admin addresses of all processes of a role."""
    addresses = pipeline.run["addresses"]["admin"]
    return [address for name, address in addresses.items() if name.rstrip("0123456789-") == role]


async def counter(session: aiohttp.ClientSession, addresses: Sequence[str], name: str) -> int:
    """Read a counter from metrics, summed over processes and labels; 0 while a process is away."""
    found = 0.0
    for address in addresses:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with session.get(f"{address}/metrics") as answer:
                families = text_string_to_metric_families(await answer.text())
            found += sum(s.value for family in families for s in family.samples if s.name == name)
    return int(found)


def report_stages(answered: float, sent: int, mails: Traffic, stages: Stages) -> float:
    """Print how fast each stage was; give the seconds of the slowest."""
    say(f"\n{'stage':<34}{'events':>12}{'seconds':>10}{'events/s':>12}")
    rows = [("posts answered 200, resends included", sent, answered)]
    rows += [(f"unique, through {stage}", mails.unique, at) for stage, at in stages.last_change.items()]
    for name, events, seconds in rows:
        say(f"{name:<34}{events:>12,}{seconds:>10.1f}{events / seconds:>12,.0f}")
    whole = max(answered, *stages.last_change.values())
    say(f"{'end to end, resends included':<34}{sent:>12,}{whole:>10.1f}{sent / whole:>12,.0f}")
    return whole


def report_answers(answers: Answers) -> None:
    latencies = sorted(answers.latencies)
    half, nearly_all = (latencies[len(latencies) * share // 100] * 1000 for share in (50, 99))
    say(f"\nposts: {answers.refusals} sent again; answered after p50 {half:.0f} ms, p99 {nearly_all:.0f} ms")


def report_processors(sent: int, whole: float, used: dict[str, float]) -> None:
    say(f"\n{'role':<20}{'CPU seconds':>12}{'µs per event':>14}")
    for name, seconds in [*sorted(used.items(), key=lambda item: -item[1]), ("all", sum(used.values()))]:
        say(f"{name:<20}{seconds:>12.1f}{seconds / sent * 1e6:>14.1f}")
    say(f"{'of two cores':<20}{sum(used.values()) / whole / 2:>12.0%}")


def yardstick(posts: Sequence[Post]) -> float:
    """Tell the processor time, in seconds, of reading and writing an event as JSON: how fast this machine is now."""
    sample = posts[: YARDSTICK_EVENTS // posts[0].events + 1]
    began = time.process_time()
    for post in sample:
        orjson.dumps(orjson.loads(post.body))
    return (time.process_time() - began) / sum(post.events for post in sample)


def report_ratio(cost: float, yardsticks: Sequence[float]) -> None:
    first, last = (seconds * 1e6 for seconds in yardsticks)
    times = cost / (sum(yardsticks) / len(yardsticks))
    say(f"\nread and written as JSON, an event takes this machine {first:.2f} µs before and {last:.2f} µs after;")
    say(f"through all of the pipeline, it takes {times:.0f} times that")


async def verdict(pipeline: RunningPipeline, mails: Traffic) -> int:
    code, said = await pipeline.audit()
    say(f"\n{said}")
    for column, table, expected in (
        ("type", "mail.events", mails.by_type),
        ("state", "mail.lifecycles", mails.by_state),
    ):
        rows = await pipeline.select(f"select {column} as name, count() as n from {table} group by name")
        found = Counter({row["name"]: row["n"] for row in rows})
        if found != expected:
            say(f"WRONG {table}: expected {dict(expected)}, found {dict(found)}")
            code = 1
        else:
            say(f"{table}: {found.total():,} rows, as sent: {dict(found)}")
    return code


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
