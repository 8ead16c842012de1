"""Does to a running pipeline what a plan says, and measures how long it takes to work again."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.chaos.disk import empty, fill
from tests.chaos.pipeline import Pipeline
from tests.chaos.plan import EVERYTHING, Fault, Kind
from tests.chaos.poison import Poisoned, poison
from tests.chaos.power import Disk
from tests.chaos.proxy import Weather
from tests.chaos.repeat import repeat
from tests.eventually import eventually
from tests.traffic.chance import chance

PAUSE = 5.0
"""Seconds until a start that failed is tried again, the first time; each time more."""
STARTS = 6
"""Times that `todoke up` is started by what stands for a service manager, before that is given up."""
RECOVERED_WITHIN = 180.0
"""Seconds."""
GONE_WITHIN = 40.0
"""Seconds that a role may take to end when it is told to."""
DEADLY = frozenset({Kind.KILL, Kind.KILL_CHILD, Kind.TERMINATE, Kind.KILL_ALL, Kind.RESTART, Kind.POWER})
"""Kinds that end a process, so that one can tell when it works again."""


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
    poisoned: Poisoned = field(default_factory=Poisoned)


class Faults:
    """The hand that breaks things."""

    def __init__(
        self, pipeline: Pipeline, tally: Tally, seed: object, *, small: Mapping[str, Path], whole: Disk | None = None
    ) -> None:
        """Aim at a pipeline.

        Args:
            pipeline: the victim.
            tally: to write into.
            seed: what is drawn depends on it.
            small: disks of the servers' own, which may be filled.
            whole: the disk that has everything, and may lose its power.
        """
        self._pipeline = pipeline
        self._tally = tally
        self._draw = chance("faults", seed)
        self._small, self._whole_disk = small, whole
        self._whole = asyncio.Lock()

    async def inflict(self, fault: Fault) -> None:
        """Do it, and return when the pipeline has recovered from it."""
        began = time.monotonic()
        try:
            await self._do(fault)
        except (LookupError, FileNotFoundError, psutil.NoSuchProcess):
            self._tally.faults[f"{fault.name}: was dead already"] += 1
        except AssertionError as error:
            self._tally.unrecovered.append(f"{fault}: {error}")
        else:
            self._tally.faults[fault.name] += 1
            if fault.kind in DEADLY:
                self._tally.recoveries.append(time.monotonic() - began)

    async def keep_up(self) -> None:
        """Start `todoke up` again when it ends by itself, as a service manager does; until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            if not self._pipeline.is_running and not self._whole.locked():
                self._tally.ended_by_itself.append(self._pipeline.output[-1500:])
                async with self._whole:
                    try:
                        await self._start()
                    except AssertionError as error:
                        self._tally.unrecovered.append(str(error))

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
            case Kind.KILL_ALL | Kind.POWER:
                async with self._whole:
                    self._tally.kills += len(self._pipeline.run["pids"])
                    await self._pipeline.kill_everything()
                    if fault.kind is Kind.POWER and self._whole_disk is not None:
                        await self._whole_disk.lose_power()
                    await self._start()
            case Kind.RESTART:
                async with self._whole:
                    await self._pipeline.stop()
                    await self._start()
            case _:
                await self._for_a_while(fault)

    async def _for_a_while(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.FREEZE:
                await self._freeze(fault)
            case Kind.EXTRA:
                await self._extra(fault)
            case Kind.NETWORK:
                await self._network(fault)
            case Kind.CLOCK:
                await self._clock(fault)
            case Kind.POISON:
                await poison(self._pipeline.kafka, self._draw, self._tally.poisoned)
            case Kind.REDELIVERY:
                await repeat(self._pipeline.kafka, "mail.inbox", self._draw)
            case Kind.STALE_ANSWER:
                await repeat(self._pipeline.kafka, "mail.outbox", self._draw)
            case Kind.DISK_FULL:
                await self._fill(self._small[fault.victim], fault.seconds)
            case _:
                raise ValueError(f"nothing is known to be done for {fault}")

    async def _freeze(self, fault: Fault) -> None:
        process = self._pipeline.process(fault.victim)
        family = [process, *process.children(recursive=True)]
        try:
            for member in family:
                member.suspend()
            await asyncio.sleep(fault.seconds)
        finally:
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.resume()

    async def _extra(self, fault: Fault) -> None:
        process = await self._pipeline.spawn(*fault.victim.split(), "--admin-port", "0")
        await asyncio.sleep(fault.seconds)
        if process.returncode is not None:
            return  # it may end by itself while the servers are being killed
        if self._draw.random() < 0.5:
            process.kill()
            self._tally.kills += 1
        else:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), GONE_WITHIN)
        except TimeoutError:
            process.kill()
            self._tally.unrecovered.append(f"{fault}: did not end within {GONE_WITHIN:g} s of SIGTERM")

    async def _fill(self, disk: Path, seconds: float) -> None:
        await asyncio.to_thread(fill, disk)
        try:
            await asyncio.sleep(seconds)
        finally:
            empty(disk)

    async def _network(self, fault: Fault) -> None:
        networks = [
            network
            for (role, server), network in self._pipeline.networks.items()
            if server == fault.server and fault.victim in {role, EVERYTHING}
        ]
        for network in networks:
            network.turn(fault.weather)
        await asyncio.sleep(fault.seconds)
        for network in networks:
            network.turn(Weather.FAIR)

    async def _clock(self, fault: Fault) -> None:
        clocks = [clock for name, clock in self._pipeline.clocks.items() if fault.victim in {name, EVERYTHING}]
        for clock in clocks:
            clock.set(fault.hours)
        await asyncio.sleep(fault.seconds)
        for clock in clocks:
            clock.set(0.0)

    async def _until_replaced(self, name: str, pid: int) -> None:
        async def is_replaced() -> bool:
            entry = self._pipeline.run["processes"].get(name, {})
            return entry.get("pid") not in {None, pid} and bool(entry.get("ready"))

        await eventually(is_replaced, within=RECOVERED_WITHIN)

    async def _start(self) -> None:
        """Start it as a service manager does: again when it fails."""
        for tried in range(STARTS):
            await asyncio.sleep(PAUSE * tried)  # what hinders it may be another program's, and pass
            try:
                await self._pipeline.start()
            except (RuntimeError, AssertionError) as error:
                self._tally.failed_starts.append(str(error))
                with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                    await self._pipeline.kill_everything()
            else:
                return
        raise AssertionError(f"`todoke up` did not come up in {STARTS} starts")
