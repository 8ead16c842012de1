"""Waiting for a condition with a deadline, which is how tests here wait for anything."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.05


async def eventually(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool] = bool, *, within: float = 30.0) -> T:
    """Ask again and again until the answer is right, and give that answer.

    Args:
        ask: what to ask; may raise while the answer cannot be had yet.
        holds: tells whether an answer is right.
        within: seconds.

    Raises:
        AssertionError: no answer was right in time; it shows the last one.
    """
    end = time.monotonic() + within
    while True:
        last: object
        try:
            answer = await ask()
            if holds(answer):
                return answer
            last = answer
        except (OSError, AssertionError, LookupError) as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s; last: {last!r}")
        await asyncio.sleep(PAUSE)


def eventually_now(ask: Callable[[], T], holds: Callable[[T], bool] = bool, *, within: float = 30.0) -> T:
    """Do the same for a question that blocks, outside an event loop."""

    async def asked() -> T:
        return ask()

    return asyncio.run(eventually(asked, holds, within=within))
