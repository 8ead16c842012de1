"""Looks at a pipeline from outside while it is being broken: how far it is, and what it uses."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from tests.chaos.pipeline import Pipeline
from tests.chaos.tables import rows

LOOK = 0.5
"""Seconds between two looks."""
LOOKS_PER_SIZING = 4


MIB = 1024 * 1024
MEMORY = {"kafka": 1024 * MIB, "clickhouse": 3072 * MIB}
FILES = {"kafka": 1024, "clickhouse": 1024}
"""What a server may use at most; see `ROLE_MEMORY` for the roles."""
ROLE_MEMORY, ROLE_FILES = 400 * MIB, 200
"""What a role may use at most: several times what it uses when nothing is broken, whatever is."""
PER_EVENT = 1024
"""Bytes that a worker may use besides for each event: it holds the lifecycles of the horizon, about 1 KB each."""


@dataclass(slots=True)
class Sight:
    """What was seen."""

    longest_stand: float = 0.0
    """Seconds, the most that no row was added while accepted events were missing or posts were waiting."""
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes resident, the most that a part and what it started ever had together."""
    files: dict[str, int] = field(default_factory=dict)
    """Open files and sockets, likewise."""


async def watch(pipeline: Pipeline, sight: Sight, outstanding: Callable[[int], bool]) -> None:
    """Look until cancelled.

    Args:
        pipeline: may die and come back meanwhile.
        sight: to write into.
        outstanding: told the number of rows; says whether more must come.
    """
    count, changed = 0, time.monotonic()
    looks = 0
    while True:
        await asyncio.sleep(LOOK)
        now = time.monotonic()
        seen = count
        with contextlib.suppress(OSError, LookupError):
            seen = (await rows(pipeline.clickhouse, "select count() as n from mail.events", patience=2))[0]["n"]
        if seen != count or not outstanding(seen):
            count, changed = seen, now
        sight.longest_stand = max(sight.longest_stand, now - changed)
        looks += 1
        if looks % LOOKS_PER_SIZING == 0:
            size_up(pipeline, sight)


def size_up(pipeline: Pipeline, sight: Sight) -> None:
    """Add what every part uses now."""
    with contextlib.suppress(OSError):
        for name in pipeline.run["processes"]:
            with contextlib.suppress(LookupError, psutil.Error):
                process = pipeline.process(name)
                # `todoke up` is the parent of all others, which are counted by themselves.
                family = [process] if name == "todoke" else [process, *process.children(recursive=True)]
                memory = sum(member.memory_info().rss for member in family)
                files = sum(member.num_fds() for member in family)
                sight.memory[name] = max(sight.memory.get(name, 0), memory)
                sight.files[name] = max(sight.files.get(name, 0), files)


def unbounded(sight: Sight, events: int) -> list[str]:
    """Tell which part used more than it may, after so many events."""
    return [
        *(
            f"{part} had {used // MIB} MiB of memory"
            for part, used in sight.memory.items()
            if used > MEMORY.get(part, ROLE_MEMORY) + (PER_EVENT * events if part.startswith("worker") else 0)
        ),
        *(f"{part} had {used} files open" for part, used in sight.files.items() if used > FILES.get(part, ROLE_FILES)),
    ]
