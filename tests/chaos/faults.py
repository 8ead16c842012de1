"""Does to a running pipeline what a plan says, and measures how long it takes to work again."""

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field

import psutil

from tests.chaos.plan import Fault, Kind
from tests.eventually import eventually
from tests.traffic.chance import chance
from tests.traffic.running import RunningPipeline

STARTS = 5
"""Times that `todoke up` is started by what stands for a service manager, before that is given up."""
RECOVERED_WITHIN = 180.0
"""Seconds."""


@dataclass(slots=True)
class Tally:
    """What was done, and what it led to."""

    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    """Processes killed with SIGKILL; those that a server started are not counted beside it."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each fault until the part, or the whole pipeline, was ready again."""
    failed_starts: list[str] = field(default_factory=list)
    """What `todoke up` said when it did not come up."""
    ended_by_itself: list[str] = field(default_factory=list)
    """What `todoke up` said when it ended without having been told to."""
    unrecovered: list[str] = field(default_factory=list)


class Faults:
    """The hand that breaks things."""

    def __init__(self, pipeline: RunningPipeline, tally: Tally, seed: object) -> None:
        self._pipeline = pipeline
        self._tally = tally
        self._draw = chance("faults", seed)
        self._whole = asyncio.Lock()

    async def inflict(self, fault: Fault) -> None:
        """Do it, and return when the pipeline has recovered from it."""
        began = time.monotonic()
        try:
            await self._do(fault)
        except (LookupError, FileNotFoundError, psutil.NoSuchProcess):
            self._tally.faults[f"{fault.kind}: was dead already"] += 1
        except AssertionError as error:
            self._tally.unrecovered.append(f"{fault}: {error}")
        else:
            self._tally.faults[fault.kind] += 1
            self._tally.recoveries.append(time.monotonic() - began)

    async def keep_up(self) -> None:
        """Start `todoke up` again when it ends by itself, as a service manager does; until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            if not self._pipeline.is_running and not self._whole.locked():
                self._tally.ended_by_itself.append(self._pipeline.output[-1500:])
                async with self._whole:
                    await self._start()

    async def _do(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.KILL:
                pid = self._pipeline.kill(fault.victim)
                self._tally.kills += 1
                await self._until_replaced(fault.victim, pid)
            case Kind.KILL_CHILD:
                process = self._pipeline.process(fault.victim)
                self._draw.choice(process.children(recursive=True) or [process]).kill()
                self._tally.kills += 1
                await self._until_replaced(fault.victim, process.pid)
            case Kind.TERMINATE:
                process = self._pipeline.process(fault.victim)
                process.terminate()
                await self._until_replaced(fault.victim, process.pid)
            case Kind.KILL_ALL:
                async with self._whole:
                    self._tally.kills += len(self._pipeline.run["pids"])
                    await self._pipeline.kill_everything()
                    await self._start()
            case Kind.RESTART:
                async with self._whole:
                    await self._pipeline.stop()
                    await self._start()

    async def _until_replaced(self, name: str, pid: int) -> None:
        async def is_replaced() -> bool:
            entry = self._pipeline.run["processes"].get(name, {})
            return entry.get("pid") not in {None, pid} and bool(entry.get("ready"))

        await eventually(is_replaced, within=RECOVERED_WITHIN)

    async def _start(self) -> None:
        """Start it as a service manager does: again when it fails."""
        for _ in range(STARTS):
            try:
                await self._pipeline.start()
            except (RuntimeError, AssertionError) as error:
                self._tally.failed_starts.append(str(error))
                with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                    await self._pipeline.kill_everything()
            else:
                return
        raise AssertionError(f"`todoke up` did not come up in {STARTS} starts")
