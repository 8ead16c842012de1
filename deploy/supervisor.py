"""Child processes that are kept alive: started, watched, started again with back-off, stopped."""

import asyncio
import contextlib
import logging
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from deploy.embedded.child import kill_family, start_child
from deploy.exit import Exit, GaveUpError
from deploy.probe import listens_itself
from streams.contracts.clock import Clock, Deadline
from streams.contracts.errors import ConfigurationError, TodokeError

logger = logging.getLogger(__name__)

PROBE_PAUSE = 0.1
"""Seconds between two questions whether a child is ready."""
WATCH_PAUSE = 5.0
"""Seconds between two questions for a sign of life."""
MOST_DOUBLINGS = 4
"""Of the time that a process gets until it is ready, each time that it was killed for having taken longer."""
READ = 65_536
HOPELESS = 2
"""Refusals of its configuration by a child that never worked, after which it is not started again. One may come of what
a killed predecessor still holds for a moment; and what has worked once was configured well."""

Question = Callable[[], Awaitable[bool]]
"""Asks a running program something; must not raise."""


class ChildFailedError(TodokeError):
    """A child process cannot be brought to life."""


class ChildGivenUpError(ChildFailedError, GaveUpError):
    """A child process died too often."""


class Output(Protocol):
    """Where a child's lines go."""

    def write(self, line: str) -> None:
        """Take one line, without its newline. Must not block for long."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """One start of a program."""

    argv: Sequence[str]
    env: Mapping[str, str]
    ready: Question
    """Does it do its work?"""
    port: int | None = None
    """Where it must listen itself to count as ready: another program may answer there. ``None`` leaves that out."""
    alive: Question | None = None
    """Does it live? ``None`` for a program that tells only whether it is ready."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """How a child is kept alive. Times are seconds."""

    start_deadline: float
    """From the start until it is ready. Started again, it has to give signs of life until then, and is given more time
    each time that it was killed for lack of them."""
    pause: float
    """Until it is started again, the first time; doubles with each death in a row."""
    pause_limit: float
    silence: float
    """Without a sign of life, once it was ready, after which it counts as hung and is killed."""
    healthy_after: float
    """A life of this length makes the pause short again."""
    give_up_after: int
    """Deaths within ``give_up_within`` that are too many, but for those for want of another service; 0 for never."""
    give_up_within: float


class Child:
    """One program that is kept alive until it is told to stop."""

    def __init__(
        self,
        name: str,
        launch: Callable[[], Launch],
        *,
        policy: Policy,
        output: Output,
        changed: Callable[[], None],
        clock: Clock,
    ) -> None:
        """Prepare it; nothing starts yet.

        Args:
            name: for people, and for its log file.
            launch: says how to start it; asked again at each start.
            policy: how to keep it alive.
            output: takes its lines.
            changed: called whenever a process of this child begins or ends.
            clock: for the length of lives.
        """
        self.name = name
        self.restarts = 0
        self._launch = launch
        self._policy = policy
        self._output = output
        self._changed = changed
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._has_worked = False
        self._slow_starts = 0
        self._stopping = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._last_lines: list[str] = []

    @property
    def pid(self) -> int | None:
        """The id of the process that runs now."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    @property
    def is_ready(self) -> bool:
        """Tell whether the process that runs now has once said that it is ready."""
        return self._ready.is_set()

    def start(self) -> None:
        """Begin to keep it alive."""
        self._keeper = asyncio.create_task(self._keep(), name=f"keeps {self.name}")

    async def until_ready(self) -> None:
        """Return once it does its work for the first time.

        Raises:
            ConfigurationError: it refuses its configuration; its own words are in the message.
            ChildFailedError: it died or was not ready in time.
        """
        keeper = self._kept()
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait(
                {ready, keeper}, timeout=self._policy.start_deadline, return_when=asyncio.FIRST_COMPLETED
            )
            if keeper.done():
                keeper.result()
            if not ready.done():
                raise ChildFailedError(
                    f"{self.name} was not ready within {self._policy.start_deadline:g} s{self._words()}"
                )
        finally:
            ready.cancel()

    async def failed(self) -> None:
        """Return when it was stopped.

        Raises:
            ChildGivenUpError: it died too often.
        """
        await asyncio.shield(self._kept())

    def hurry(self) -> None:
        """Tell a process that is stopping once more, which leaves it little time."""
        if self._stopping.is_set() and self._process is not None and self._process.returncode is None:
            _tell(self._process, signal.SIGTERM)

    async def stop(self, deadline: Deadline) -> bool:
        """Tell it to stop, wait for that, kill it when the deadline is over; tell whether it stopped by itself."""
        self._stopping.set()
        process = self._process
        clean = True
        if process is not None and process.returncode is None:
            _tell(process, signal.SIGTERM)
            if not await self._ends(process, deadline):
                logger.warning("%s did not stop in time and is killed", self.name)
                clean = False
                _tell(process, signal.SIGKILL)
        if self._keeper is not None:
            await asyncio.gather(self._keeper, return_exceptions=True)
        return clean

    async def _ends(self, process: asyncio.subprocess.Process, deadline: Deadline) -> bool:
        """Wait for the end of a process; tell whether it came before the deadline, which may come closer meanwhile."""
        ending = asyncio.ensure_future(process.wait())
        while not ending.done():
            await asyncio.wait({ending}, timeout=min(PROBE_PAUSE, max(deadline.remaining(), 0.01)))
            if not deadline.remaining():
                break
        ended = ending.done()
        ending.cancel()
        return ended

    def _kept(self) -> asyncio.Task[None]:
        if self._keeper is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._keeper

    async def _keep(self) -> None:
        deaths = 0
        recent: deque[float] = deque()
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            code = await self._live()
            if self._stopping.is_set():
                return
            died = self._clock.monotonic()
            if died - began >= self._policy.healthy_after:
                deaths = 0
            deaths += 1
            if code != Exit.UNREACHABLE:
                recent.append(died)
            while recent and recent[0] < died - self._policy.give_up_within:
                recent.popleft()
            if code == Exit.MISUSED and not self._has_worked and deaths >= HOPELESS:
                raise ConfigurationError(f"{self.name} refuses its configuration{self._words()}")
            if self._policy.give_up_after and len(recent) >= self._policy.give_up_after:
                raise ChildGivenUpError(
                    f"{self.name} died {len(recent)} times within {self._policy.give_up_within:g} s and is given up; "
                    f"it {_fate(code)}, and its last words were:{self._words()}"
                )
            pause = min(self._policy.pause * 2 ** min(deaths - 1, 20), self._policy.pause_limit)
            level = logging.WARNING if deaths == 1 else logging.ERROR
            row = "" if deaths == 1 else f", for the {_ordinal(deaths)} time in a row"
            words = "" if deaths == 1 else f"; its last words:{self._words()}"
            logger.log(level, "%s %s%s, and starts again in %g s%s", self.name, _fate(code), row, pause, words)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            self.restarts += 1

    async def _live(self) -> int:
        """Run one process to its end and give its exit code, negative for a signal."""
        self._ready.clear()
        self._last_lines.clear()
        launch = self._launch()
        self._process = process = await start_child(launch.argv, env=launch.env)
        if self._stopping.is_set():  # `stop` found no process to tell; this one has done nothing yet
            _tell(process, signal.SIGKILL)
        self._changed()
        probing = asyncio.create_task(self._probe(launch, process.pid))
        try:
            await self._pass_on(process)
            return await process.wait()
        finally:
            probing.cancel()
            if process.returncode is None:  # this task was cancelled
                _tell(process, signal.SIGKILL)
            self._changed()

    async def _probe(self, launch: Launch, pid: int) -> None:
        """Tell when a process is ready, and kill it once it is silent for too long, so that it is started again."""
        patience = self._policy.start_deadline * 2 ** min(self._slow_starts, MOST_DOUBLINGS)
        if not await self._gets_ready(launch, pid, _Silence(patience, self._clock)):
            self._slow_starts += 1  # nothing may hang: it may need longer than it was given
            self._kill_silent(pid, patience)
            return
        self._slow_starts = 0
        self._ready.set()
        self._has_worked = True
        self._changed()
        if launch.alive is not None:
            await self._falls_silent(launch.alive, _Silence(self._policy.silence, self._clock))
            self._kill_silent(pid, self._policy.silence)

    async def _gets_ready(self, launch: Launch, pid: int, silence: "_Silence") -> bool:
        """Wait until a process is ready, as long as it gives signs of life: it may wait for another one itself."""
        while not await _confirms(launch.ready, launch, pid):
            if silence.is_over_after(answer=launch.alive is not None and await _confirms(launch.alive, launch, pid)):
                return False
            await asyncio.sleep(PROBE_PAUSE)
        return True

    async def _falls_silent(self, alive: Question, silence: "_Silence") -> None:
        """Wait until a process that lives does not answer any more."""
        while not silence.is_over_after(answer=await alive()):  # noqa: ASYNC110 - an answer that is missing raises no event
            await asyncio.sleep(min(WATCH_PAUSE, self._policy.silence / 4))

    def _kill_silent(self, pid: int, seconds: float) -> None:
        if self._stopping.is_set():  # `stop` has a deadline of its own, and servers answer nothing while they stop
            return
        logger.error("%s has given no sign of life for %g s and is killed", self.name, seconds)
        kill_family(pid)

    async def _pass_on(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise RuntimeError("the child's output is not a pipe")
        rest = b""
        while block := await process.stdout.read(READ):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._say(line)
        if rest:
            self._say(rest)

    def _say(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self._last_lines = [*self._last_lines[-4:], text]
        self._output.write(text)

    def _words(self) -> str:
        return "".join(f"\n    {self.name} | {line}" for line in self._last_lines)


class _Silence:
    """How long a process has not answered, in time in which it was asked.

    Who asks may stand still as well, which says nothing of who is asked: no single answer that is missing counts for
    more than a third of the limit.
    """

    def __init__(self, limit: float, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._asked = clock.monotonic()
        self._lasted = 0.0

    def is_over_after(self, *, answer: bool) -> bool:
        """Take an answer, or that none came; tell whether it is silent for longer than the limit, in seconds."""
        now = self._clock.monotonic()
        self._lasted = 0.0 if answer else self._lasted + min(now - self._asked, self._limit / 3)
        self._asked = now
        return self._lasted >= self._limit


async def _confirms(question: Question, launch: Launch, pid: int) -> bool:
    """Tell whether the answer is yes, and comes from this process."""
    return await question() and (launch.port is None or listens_itself(pid, launch.port))


def _tell(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _fate(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _ordinal(number: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else endings.get(number % 10, 'th')}"
