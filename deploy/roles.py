"""One role as a process: signals, a stop within a deadline, an admin port, an exit code."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from deploy.event_loop import new_event_loop
from deploy.exit import Exit, exit_code
from deploy.memory import settle_memory
from deploy.ports import chosen_port
from deploy.settings import AdminSettings
from streams.contracts.clock import Clock, Deadline, SystemClock
from streams.contracts.errors import TodokeError
from streams.contracts.role import Role

logger = logging.getLogger(__name__)

HURRY = 1.0
"""Seconds that are left after the second signal."""
LEFT_OVER = 5.0
"""Seconds that a role which has ended may hold its process up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """How to run a role."""

    name: str
    stop_deadline: float
    """Seconds from the signal until the process ends."""
    admin: AdminSettings | None
    """Where to serve health and metrics; ``None`` for a role that does so itself."""
    until_idle: bool = False
    """End as soon as everything that was there has been worked off."""


class ShrinkingDeadline(Deadline):
    """A deadline that can come closer."""

    def shrink(self, seconds: float, clock: Clock) -> None:
        """Leave at most so many seconds from now."""
        self._end = min(self._end, clock.monotonic() + seconds)


def run_role(build: Callable[[], Role], running: Running) -> Exit:
    """Run a role to its end, which is a signal, idleness if that was asked for, or its own failure.

    The first SIGTERM or SIGINT lets it finish what it began, within the deadline; a second one shortens that to a
    second. Neither can lose anything: what is cut off is done again by the next process.

    Args:
        build: makes the idle role; called in the event loop.
        running: how.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        code = runner.run(_run(build, running))
        _end_within(LEFT_OVER, code)
        return code


def _end_within(seconds: float, code: Exit) -> None:
    """See to it that the process ends, though a thread or a task is left that hears of nothing.

    Python waits for both when it ends, and a client's thread may wait for an answer of a network that is gone.
    """
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


async def _run(build: Callable[[], Role], running: Running) -> Exit:
    clock = SystemClock()
    told = _Signals()
    told.listen()
    role: Role | None = None
    try:
        role = build()
        async with _admin_server(role, running):
            code = await _until_end(role, running, told)
            return await _stop(role, running, told, clock) or code
    except TodokeError as error:
        logger.error("%s", error)  # noqa: TRY400 - the sentence says what to do, a traceback would bury it
        if role is not None:
            await _stop(role, running, told, clock)
        return exit_code(error)
    except Exception:
        logger.exception("%s ended by an error that nobody expected", running.name)
        if role is not None:
            await _stop(role, running, told, clock)
        return Exit.FAILED


class _Signals:
    """What the process was told from outside."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._hear)

    def _hear(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()


async def _until_end(role: Role, running: Running, told: _Signals) -> Exit:
    """Start the role and return when it has to be stopped; raise what ended it."""
    if not await _first(told.stop.wait(), role.start()):
        return Exit.OK
    settle_memory()
    logger.info("%s is up", running.name)
    ends = [role.wait(), role.until_idle()] if running.until_idle else [role.wait()]
    if await _first(told.stop.wait(), *ends):
        logger.info("%s has nothing left to do", running.name)
    else:
        logger.info("%s stops", running.name)
    return Exit.OK


async def _first(interrupt: Coroutine[Any, Any, Any], *others: Coroutine[Any, Any, Any]) -> bool:
    """Wait until one is done, cancel the rest, raise what it raised; tell whether it was another than the interrupt."""
    signalled = asyncio.ensure_future(interrupt)
    tasks = {signalled, *map(asyncio.ensure_future, others)}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
    return signalled not in done


async def _stop(role: Role, running: Running, told: _Signals, clock: Clock) -> Exit:
    deadline = ShrinkingDeadline(running.stop_deadline, clock)
    _end_within(running.stop_deadline + LEFT_OVER, Exit.CUT_OFF)
    stopping = asyncio.ensure_future(role.stop(deadline))
    hurried = asyncio.ensure_future(told.hurry.wait())
    try:
        await asyncio.wait({stopping, hurried}, timeout=deadline.remaining(), return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            deadline.shrink(HURRY, clock)
            await asyncio.wait({stopping}, timeout=HURRY)
        if not stopping.done():
            logger.warning("%s did not end in time and is cut off; the next one does the rest again", running.name)
            return Exit.CUT_OFF
        stopping.result()
    except Exception:
        logger.exception("%s failed while it stopped; the next one does the rest again", running.name)
        return Exit.FAILED
    finally:
        for task in (stopping, hurried):
            task.cancel()
        await asyncio.gather(stopping, hurried, return_exceptions=True)
    return Exit.OK


@contextlib.asynccontextmanager
async def _admin_server(role: Role, running: Running) -> Any:
    """Serve ``/healthz``, ``/readyz`` and ``/metrics`` while the role runs."""
    if running.admin is None:
        yield
        return
    host = running.admin.host
    port = chosen_port(host, running.admin.port, purpose="health and metrics", flag="--admin-port")
    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", lambda _: _answer({"status": "alive"})),
            web.get("/readyz", lambda _: _readiness(role)),
            web.get("/metrics", _metrics),
        ]
    )
    server = web.AppRunner(app, access_log=None, handle_signals=False)
    await server.setup()
    try:
        await web.TCPSite(server, host, port, shutdown_timeout=1.0).start()
        logger.info("health and metrics of %s: http://%s:%d/metrics", running.name, host, port)
        yield
    finally:
        await server.cleanup()


async def _answer(content: Any, *, status: int = 200) -> web.Response:
    return web.json_response(text=json.dumps(content) + "\n", status=status)


async def _readiness(role: Role) -> web.Response:
    ready, state = role.readiness()
    return await _answer({"ready": ready, **state}, status=200 if ready else 503)


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
