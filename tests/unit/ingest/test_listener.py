import asyncio
from collections.abc import Callable

import pytest
import uvloop
from aiohttp import web

from ingest.listener import Listener
from streams.contracts.clock import SystemClock

HOST = "127.0.0.1"
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000


async def answer(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response()


async def refused(port: int, *, saying: bytes) -> bytes:
    """Open a connection, send at once, and read until it is closed."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(saying)
    try:
        return await reader.read()
    finally:
        writer.close()


async def crowd() -> None:
    listener = Listener(host=HOST, port=0, waiting=200, limit=1, retry_after=7, clock=SystemClock())
    port = await listener.start(web.Server(answer))
    kept = await asyncio.open_connection(HOST, port)
    try:
        answers = [await refused(port, saying=saying) for saying in (b"", REQUEST)]
    finally:
        kept[1].close()
        listener.stop()
    assert {found.partition(b"\r\n")[0] for found in answers} == {b"HTTP/1.1 503 Service Unavailable"}
    assert all(b"Retry-After: 7\r\n" in found for found in answers)


@pytest.mark.parametrize("new_event_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_one_connection_too_many_is_answered_on_every_event_loop(
    new_event_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(crowd())
