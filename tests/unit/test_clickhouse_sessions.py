"""Sessions of the embedded ClickHouse, where its engine is not needed."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from deploy.embedded.clickhouse.call import Call
from deploy.embedded.clickhouse.engine import Engine
from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.sessions import Sessions


class Opened:
    """A connection, as far as it is opened and closed."""

    is_open = True

    def close(self) -> None:
        self.is_open = False


class Opening:
    """The part of an engine that opens connections, in its own time."""

    def __init__(self) -> None:
        self.opened: list[Opened] = []

    def connect(self) -> Opened:
        self.opened.append(Opened())
        return self.opened[-1]

    async def submit(self, work: Callable[[], Any]) -> Any:
        await asyncio.sleep(0)
        return work()


async def test_of_requests_that_begin_a_session_at_once_one_has_it() -> None:
    engine = Opening()
    sessions = Sessions(cast("Engine", engine))
    call = cast("Call", SimpleNamespace(session_check=False))

    took = await asyncio.gather(*(sessions._take(call, "name") for _ in range(3)), return_exceptions=True)
    assert [error.code for error in took if isinstance(error, ClickHouseError)] == [373, 373]
    assert sum(each.is_open for each in engine.opened) == 1
