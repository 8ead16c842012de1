"""A pipe from the engine, which writes in a thread, to the event loop, which reads without blocking."""

import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import AsyncIterator

_SIZE = 2**20
"""Bytes that the engine may be ahead of the client."""


@contextlib.asynccontextmanager
async def pipe() -> AsyncIterator[tuple[asyncio.StreamReader, int]]:
    """Open a pipe; give its reading end and the descriptor of its writing end, which whoever writes must close."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a user may have used up what the system allows; then it is smaller
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _SIZE)
    reader = asyncio.StreamReader(limit=_SIZE)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
    )
    try:
        yield reader, writing
    finally:
        transport.close()
