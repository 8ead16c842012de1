import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from deploy.exit import Exit, exit_code
from deploy.ports import free_port, is_free
from deploy.supervisor import Child, ChildFailedError, ChildGivenUpError, Launch, Policy
from streams.contracts.clock import Clock, Deadline, SystemClock
from streams.contracts.errors import ConfigurationError
from tests.eventually import eventually

LIVES = "import time; print('hello', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"

LISTENS = "import socket, time; server = socket.create_server(('127.0.0.1', PORT)); time.sleep(600)"
STARTS = f"""
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {LISTENS!r}])
signal.signal(signal.SIGTERM, lambda *_: child.kill())
child.wait()
"""

SLOW = """
import signal, sys, time
def stop(number, frame):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("stopping", flush=True)
signal.signal(signal.SIGTERM, stop)
print("hello", flush=True)
while True: time.sleep(600)
"""


TAKES_TIME = """
import signal, sys, time
def stop(number, frame):
    print("stopping", flush=True)
    time.sleep(1.5)
    print("stopped", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("hello", flush=True)
while True: time.sleep(600)
"""


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


def child(
    code: str,
    lines: Lines,
    *,
    give_up_after: int = 0,
    start_deadline: float = 30.0,
    ready: bool = True,
    alive: Callable[[], Awaitable[bool]] | None = None,
    launch: Callable[[], Launch] | None = None,
    clock: Clock | None = None,
) -> Child:
    async def has_spoken() -> bool:
        return ready and bool(lines.lines)

    return Child(
        "child",
        launch
        or (lambda: Launch(argv=[sys.executable, "-c", code], env=dict(os.environ), ready=has_spoken, alive=alive)),
        policy=Policy(
            start_deadline=start_deadline,
            pause=0.01,
            pause_limit=0.05,
            silence=0.4,
            healthy_after=60,
            give_up_after=give_up_after,
            give_up_within=60,
        ),
        output=lines,
        changed=lambda: None,
        clock=clock or SystemClock(),
    )


def deadline(seconds: float) -> Deadline:
    return Deadline(seconds, SystemClock())


async def test_a_child_that_dies_is_started_again_and_stops_when_told() -> None:
    lines = Lines()
    keeper = child(LIVES, lines)
    keeper.start()
    await keeper.until_ready()
    first = keeper.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)

    async def pid() -> int | None:
        return keeper.pid

    second = await eventually(pid, lambda now: now not in (None, first))
    assert second is not None
    assert keeper.restarts == 1

    await keeper.stop(deadline(10))
    assert keeper.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


async def test_a_child_that_gives_no_sign_of_life_is_killed_and_started_again() -> None:
    async def silent() -> bool:
        return False

    keeper = child(LIVES, Lines(), alive=silent)
    keeper.start()
    await keeper.until_ready()

    async def restarts() -> int:
        return keeper.restarts

    await eventually(restarts, lambda count: count > 0)
    await keeper.stop(deadline(10))


class Restarted:
    """What is asked of a program that is ready at its first start and never again."""

    def __init__(self, *, lives: bool) -> None:
        self.asked = 0
        self._lives = lives
        self._starts = 0

    def launch(self) -> Launch:
        self._starts += 1
        return Launch(argv=[sys.executable, "-c", LIVES], env=dict(os.environ), ready=self._ready, alive=self._alive)

    async def _ready(self) -> bool:
        return self._starts == 1

    async def _alive(self) -> bool:
        self.asked += 1
        return self._starts == 1 or self._lives


async def killed_once(restarted: Restarted) -> Child:
    """Bring a child to its second start."""
    keeper = child(LIVES, Lines(), start_deadline=0.5, launch=restarted.launch)
    await kill_once_ready(keeper)
    return keeper


async def kill_once_ready(keeper: Child) -> None:
    """Not by `until_ready`, whose deadline may be over before the process has begun."""
    keeper.start()

    async def ready() -> bool:
        return keeper.is_ready

    await eventually(ready)
    assert keeper.pid is not None
    os.kill(keeper.pid, signal.SIGKILL)


async def test_a_child_that_hangs_before_it_is_ready_again_is_killed_and_started_again() -> None:
    keeper = await killed_once(Restarted(lives=False))

    async def restarts() -> int:
        return keeper.restarts

    await eventually(restarts, lambda count: count > 2)
    await keeper.stop(deadline(10))


async def test_a_child_that_lives_and_is_not_ready_again_is_left_alone() -> None:
    restarted = Restarted(lives=True)
    keeper = await killed_once(restarted)

    async def asked() -> int:
        return restarted.asked

    await eventually(asked, lambda count: count > 12)  # 0.1 s each: longer than the deadline
    assert keeper.restarts == 1
    await keeper.stop(deadline(10))


async def test_a_child_that_needs_longer_to_be_ready_again_is_given_more_time_at_each_start() -> None:
    clock = SystemClock()
    starts: list[float] = []

    def launch() -> Launch:
        starts.append(clock.monotonic())
        return Launch(argv=[sys.executable, "-c", LIVES], env=dict(os.environ), ready=ready)

    async def ready() -> bool:
        return len(starts) == 1 or clock.monotonic() - starts[-1] > 1.0

    keeper = child(LIVES, Lines(), start_deadline=0.3, launch=launch)
    await kill_once_ready(keeper)

    async def is_ready_again() -> bool:
        return keeper.restarts > 1 and keeper.is_ready

    await eventually(is_ready_again)
    await keeper.stop(deadline(10))


class LeapingClock(SystemClock):
    """A clock that may be put forward, as it is for who was stopped meanwhile."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def test_who_stood_still_itself_takes_nobody_else_for_hung() -> None:
    clock = LeapingClock()
    answers: list[bool] = []

    async def alive() -> bool:
        if not answers:
            clock.ahead += 1000  # nobody heard the answer
        answers.append(bool(answers))
        return answers[-1]

    keeper = child(LIVES, Lines(), alive=alive, clock=clock)
    keeper.start()
    await keeper.until_ready()

    async def answered() -> int:
        return len(answers)

    await eventually(answered, lambda count: count > 3)
    assert keeper.restarts == 0
    await keeper.stop(deadline(10))


async def test_a_child_that_answers_nothing_while_it_stops_is_left_to_stop() -> None:
    lines = Lines()

    async def alive() -> bool:
        return "stopping" not in lines.lines

    keeper = child(TAKES_TIME, lines, alive=alive)
    keeper.start()
    await keeper.until_ready()

    assert await keeper.stop(deadline(30))
    assert lines.lines[-1] == "stopped"


async def test_a_child_that_ignores_the_signal_is_killed_after_the_deadline() -> None:
    lines = Lines()
    keeper = child(DEAF, lines)
    keeper.start()
    await keeper.until_ready()

    assert await keeper.stop(deadline(0.2)) is False
    assert keeper.pid is None


async def test_bad_configuration_is_told_in_the_childs_own_words_and_not_tried_for_long() -> None:
    keeper = child("import sys; print('set the key'); sys.exit(2)", Lines(), ready=False)
    keeper.start()

    with pytest.raises(ConfigurationError, match="set the key"):
        await keeper.failed()
    assert keeper.restarts == 1


async def test_too_many_deaths_are_the_end() -> None:
    keeper = child("print('ouch'); raise SystemExit(1)", Lines(), give_up_after=3)
    keeper.start()

    with pytest.raises(
        ChildGivenUpError, match=r"died 3 times within 60 s(?s:.)*ended with exit code 1(?s:.)*ouch"
    ) as told:
        await keeper.failed()
    assert exit_code(told.value) == Exit.GAVE_UP


async def test_deaths_for_want_of_another_service_do_not_count() -> None:
    keeper = child("print('away'); raise SystemExit(3)", Lines(), give_up_after=2)
    keeper.start()

    async def restarts() -> int:
        return keeper.restarts

    await eventually(restarts, lambda count: count > 4)
    await keeper.stop(deadline(10))


async def test_a_child_that_stops_may_be_hurried() -> None:
    lines = Lines()
    keeper = child(SLOW, lines)
    keeper.start()
    await keeper.until_ready()
    stopping = asyncio.create_task(keeper.stop(deadline(60)))

    async def said() -> list[str]:
        return lines.lines

    await eventually(said, lambda all_of: "stopping" in all_of)
    keeper.hurry()
    assert await stopping is True


async def test_a_child_that_is_told_to_stop_while_its_process_begins_stops() -> None:
    asked = asyncio.Event()

    def launch() -> Launch:
        asked.set()
        return Launch(argv=[sys.executable, "-c", LIVES], env=dict(os.environ), ready=no)

    async def no() -> bool:
        return False

    keeper = child(LIVES, Lines(), launch=launch)
    keeper.start()
    await asked.wait()
    assert keeper.pid is None
    async with asyncio.timeout(20):
        await keeper.stop(deadline(60))
    assert keeper.pid is None


async def test_a_child_that_is_never_ready_fails_the_start() -> None:
    keeper = child("import time; time.sleep(600)", Lines(), start_deadline=0.3)
    keeper.start()

    with pytest.raises(ChildFailedError, match="was not ready within"):
        await keeper.until_ready()
    await keeper.stop(deadline(10))


def launch_that_is_answered(code: str, port: int) -> Launch:
    """Start something where somebody answers from the first moment on."""

    async def answers() -> bool:
        return True

    return Launch(argv=[sys.executable, "-c", code], env=dict(os.environ), port=port, ready=answers)


async def test_another_program_that_answers_at_a_childs_port_does_not_make_it_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        launch = launch_that_is_answered(LIVES, other.getsockname()[1])
        keeper = child(LIVES, Lines(), start_deadline=1.0, launch=lambda: launch)
        keeper.start()

        with pytest.raises(ChildFailedError, match="was not ready within"):
            await keeper.until_ready()
        await keeper.stop(deadline(10))


async def test_a_child_is_ready_where_the_system_does_not_tell_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> list[psutil.Process]:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "children", refuse)
    launch = launch_that_is_answered(LIVES, free_port())
    keeper = child(LIVES, Lines(), launch=lambda: launch)
    keeper.start()

    await keeper.until_ready()
    await keeper.stop(deadline(10))


@pytest.mark.parametrize("code", [LISTENS, STARTS])
async def test_a_child_is_ready_where_it_listens_or_what_it_started(code: str) -> None:
    port = free_port()
    launch = launch_that_is_answered(code.replace("PORT", str(port)), port)
    keeper = child(code, Lines(), launch=lambda: launch)
    keeper.start()

    await keeper.until_ready()
    assert not is_free("127.0.0.1", port)
    await keeper.stop(deadline(10))


async def test_children_die_with_their_parent() -> None:
    script = (
        "import asyncio, sys\n"
        "from deploy.embedded.child import start_child\n"
        "async def main():\n"
        f"    child = await start_child([sys.executable, '-c', {LIVES!r}])\n"
        "    print(child.pid, flush=True)\n"
        "    await child.wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=Path.cwd()
    )
    assert parent.stdout is not None
    grandchild = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()

    async def is_gone() -> bool:
        try:
            return bool(psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    await eventually(is_gone)
