"""The end of a server and of its machine's power."""

from collections.abc import Awaitable, Callable

import psutil

from tests.chaos.power import Disk
from tests.eventually import eventually


async def lose_power(pid: int | None, let_go: Callable[[], Awaitable[object]], disk: Disk) -> None:
    """Kill the server that runs on a disk, have its keeper let go of it, and lose what it had not written through."""
    process = psutil.Process(pid)
    process.kill()
    await let_go()

    async def is_gone() -> bool:
        return not process.is_running()

    await eventually(is_gone)
    await disk.lose_power()
