"""One query of the embedded ClickHouse, where its engine is not needed."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from deploy.embedded.clickhouse.engine import Engine
from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.run import Run


class Stopping:
    """The part of an engine that stops queries: waits until the test ends them."""

    async def kill_until_done(self, running: "asyncio.Future[Any]", tag: str) -> None:  # noqa: ARG002 - the engine's form
        await asyncio.wait([running])


async def test_a_stopped_query_whose_client_is_cancelled_twice_leaves_nothing_to_complain_of() -> None:
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
    nothing = cast("Any", None)
    run = Run(
        engine=cast("Engine", Stopping()), connection=nothing, call=nothing, body=None, reply=nothing, tag="the query"
    )
    running: asyncio.Future[Any] = loop.create_future()
    stopping = asyncio.create_task(run._stop(running))
    await asyncio.sleep(0)

    stopping.cancel()
    await asyncio.sleep(0)
    running.set_exception(ClickHouseError(394, "QUERY_WAS_CANCELLED", "Query was cancelled"))
    await asyncio.wait([stopping])
    assert stopping.cancelled()

    del running, stopping
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


class Working:
    """The part of an engine that runs work on a connection: in one thread."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread

    def submit(self, work: Any, *arguments: object) -> "asyncio.Future[Any]":
        return asyncio.wrap_future(self._thread.submit(work, *arguments))


async def test_a_request_that_is_cancelled_twice_waits_for_the_work_on_its_connection() -> None:
    nothing = cast("Any", None)
    finish = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        run = Run(
            engine=cast("Engine", Working(thread)), connection=nothing, call=nothing, body=None, reply=nothing, tag=""
        )
        working = asyncio.create_task(run._blocking(finish.wait))
        for _ in range(3):
            await asyncio.sleep(0)
            working.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        still_waits = not working.done()
        finish.set()
        await asyncio.wait([working])
    assert still_waits
    assert working.cancelled()
