"""A long flood through the whole pipeline: what it does to the memory of each part, and whether everything is there.

    make soak MINUTES=10
    python -m tests.benchmarks.soak --minutes 10 --connections 640

Senders post as fast as they are answered, over ten times as many connections as `make bench` needs to keep everything
busy, and send again what is refused. At intervals the memory of each part is noted, with what it started; at the end it
is drawn. A worker keeps the lifecycles of the horizon, about 1 KB each, so its memory follows their number; whatever
else grew with the flood would be a queue without an end. Exit code 1 if the books do not balance, if an event is not in
the table once, or if a part took more memory towards the end than before the middle, beyond `SLACK`.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import uvloop

from tests.benchmarks.pipeline import PATIENCE, say
from tests.chaos.watch import PER_EVENT, Sight, size_up
from tests.traffic.mails import Post, traffic
from tests.traffic.running import RunningPipeline
from tests.traffic.sender import Answers, send

MIB = 2**20
LAP = 100_000
"""Events that are made at a time; making the next ones takes the senders' place for a moment."""
LOOK = 5.0
"""Seconds between two looks at the memory."""
SLACK = 200 * MIB
"""Bytes that a part may take more towards the end: caches still fill up, and allocators keep what was free."""
BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 60


@dataclass(slots=True)
class Curve:
    """What was seen of the parts, look by look."""

    memory: dict[str, list[int]] = field(default_factory=dict)
    """Bytes resident, by part; a part that is away is left out."""

    def note(self, pipeline: RunningPipeline) -> None:
        """Look once."""
        sight = Sight()
        size_up(pipeline, sight)
        for name, size in sight.memory.items():
            self.memory.setdefault(name, []).append(size)

    def growth(self, name: str) -> float:
        """Tell how much more it was in the last quarter than in the second one, on average."""
        seen = self.memory[name]
        quarter = max(1, len(seen) // 4)
        return mean(seen[-quarter:]) - mean(seen[quarter : 2 * quarter] or seen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of flood (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=640, help="posts under way at a time (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=100, help="events a post, the provider's default is 100")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="todoke-soak-") as folder:
        return uvloop.run(flood(Path(folder), arguments))


async def flood(folder: Path, arguments: argparse.Namespace) -> int:
    async with RunningPipeline(folder / "data") as pipeline:
        curve, answers, unique = Curve(), Answers(), 0
        began = time.monotonic()
        watching = asyncio.create_task(watch(pipeline, curve))
        posts: Sequence[Post] = ()
        while time.monotonic() - began < arguments.minutes * 60:
            lap = await asyncio.to_thread(traffic, LAP, seed=arguments.seed + unique, batch=arguments.batch)
            posts, unique = lap.posts, unique + lap.unique
            told = await send(posts, pipeline.webhooks, connections=arguments.connections)
            answers.accepted_events += told.accepted_events
            answers.refusals += told.refusals
            answers.latencies += told.latencies
        seconds = time.monotonic() - began
        watching.cancel()
        say(f"{answers.accepted_events:,} events accepted in {seconds:,.0f} s: {unique / seconds:,.0f} a second")
        say(f"{answers.refusals:,} posts were sent again; the longest took {max(answers.latencies):.1f} s")
        draw(curve)
        code, said = await pipeline.audit(wait=PATIENCE + seconds)
        say(f"\n{said}")
        (found,) = await pipeline.select("select count() as n, uniqExact(id) as ids from mail.events")
        say(f"mail.events: {found['n']:,} rows, {found['ids']:,} of them different, {unique:,} sent")
        grown = too_large(curve, unique)
        for line in grown:
            say(line)
        return int(code != 0 or found["n"] != unique or found["ids"] != unique or bool(grown))


async def watch(pipeline: RunningPipeline, curve: Curve) -> None:
    """Look until cancelled."""
    while True:
        await asyncio.to_thread(curve.note, pipeline)
        await asyncio.sleep(LOOK)


def draw(curve: Curve) -> None:
    """Print the memory of each part over time, the height of a bar by its own most."""
    say(f"\n{'part':<16}{'first':>8}{'middle':>8}{'last':>8}{'most':>8}  MiB; over the time of the flood")
    for name, seen in sorted(curve.memory.items(), key=lambda entry: -max(entry[1])):
        at = [seen[min(len(seen) - 1, column * len(seen) // WIDTH)] for column in range(min(WIDTH, len(seen)))]
        bars = "".join(BARS[round(size / max(seen) * (len(BARS) - 1))] for size in at)
        marks = (seen[0], seen[len(seen) // 2], seen[-1], max(seen))
        say(f"{name:<16}{''.join(f'{size / MIB:>8.0f}' for size in marks)}  {bars}")


def too_large(curve: Curve, events: int) -> list[str]:
    """Say which part's memory grew, beyond what a worker holds of the mails that came meanwhile."""
    found = []
    for name in curve.memory:
        allowed = SLACK + (PER_EVENT * events // 2 if name.startswith("worker") else 0)
        if (growth := curve.growth(name)) > allowed:
            found.append(f"{name} grew by {growth / MIB:.0f} MiB; {allowed / MIB:.0f} are allowed")
    return found


if __name__ == "__main__":
    sys.exit(main())
