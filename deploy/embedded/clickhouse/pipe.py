"""A pipe from the engine, which writes in a thread, to the event loop, which reads without blocking.

The loops' own transports for pipes are not used: uvloop's closes a pipe's descriptor twice, itself and through the file
object, and in between a thread of the engine may have been given the same number for a file of its own.
"""

import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import AsyncIterator

_SIZE = 2**20
"""Bytes that the engine may be ahead of the client."""


class PipeReader:
    """The reading end."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    async def read(self, limit: int) -> bytes:
        """Give what is there, at most ``limit`` bytes; waits for something, and gives nothing only at the end."""
        while True:
            try:
                return os.read(self._descriptor, limit)
            except BlockingIOError:
                await self._readable()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._descriptor, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._descriptor)


@contextlib.asynccontextmanager
async def pipe() -> AsyncIterator[tuple[PipeReader, int]]:
    """Open a pipe; give its reading end and the descriptor of its writing end, which whoever writes must close."""
    reading, writing = os.pipe()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a user may have used up what the system allows; then it is smaller
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _SIZE)
    try:
        yield PipeReader(reading), writing
    finally:
        os.close(reading)
