"""A bad network: a TCP proxy on loopback that passes everything, until it is told to behave otherwise.

It stands before one server for one client program. Before Kafka it also changes the port in every answer that names the
broker, so that clients that ask where the broker is come through the proxy again.
"""

import asyncio
import contextlib
import random
import struct
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

from tests.traffic.chance import chance

HOST = "127.0.0.1"
READ = 65_536
DELAY = 0.8
"""Seconds that bytes wait at most while they are delayed."""
LATE = 12.0
"""Seconds that an answer waits at most while answers are late."""
READ_ONLY = (
    b"HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Exception-Code: 242\r\nContent-Type: text/plain\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
)
READ_ONLY_TEXT = b"Code: 242. DB::Exception: Table is in readonly mode. (TABLE_IS_READ_ONLY)\n"


class Weather(StrEnum):
    """How the network behaves."""

    FAIR = "passes everything"
    DELAY = "delays"
    LATE = "answers late"
    CUT = "cuts"
    """Every connection, after some bytes in either direction."""
    HALF_OPEN = "half-opens"
    """Connections stay and carry nothing any more, not even their end."""
    REFUSE = "refuses"
    IN_THE_MIDDLE = "fails in the middle of a request"
    UNANSWERED = "fails after the request, before the answer"
    READ_ONLY = "is read-only"
    """Answers as ClickHouse does whose tables cannot be written."""


KAFKA = (Weather.DELAY, Weather.LATE, Weather.CUT, Weather.HALF_OPEN, Weather.REFUSE, Weather.UNANSWERED)
CLICKHOUSE = (
    Weather.DELAY,
    Weather.LATE,
    Weather.REFUSE,
    Weather.HALF_OPEN,
    Weather.IN_THE_MIDDLE,
    Weather.UNANSWERED,
    Weather.READ_ONLY,
)


class Proxy:
    """One proxy before one server. As a context manager: listens for the length of the block."""

    def __init__(self, upstream: int, *, kafka: bool, seed: object) -> None:
        """Describe it.

        Args:
            upstream: the server's port.
            kafka: it is Kafka's.
            seed: delays and the places of cuts are drawn from it.
        """
        self.port = 0
        self._upstream = upstream
        self._kafka = kafka
        self._draw = chance("proxy", seed)
        self._weather = Weather.FAIR
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0, limit=READ)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for link in set(self._links):
            link.abort()

    def turn(self, weather: Weather) -> None:
        """Behave like this from now on, towards open connections too."""
        self._weather = weather
        for link in set(self._links):
            link.turn(weather)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(HOST, self._upstream)
        except OSError:
            writer.transport.abort()
            return
        rename = _renamed(self._upstream, self.port) if self._kafka else None
        link = _Link((reader, writer), there, self._draw, rename)
        self._links.add(link)
        link.turn(self._weather)
        try:
            await link.run()
        finally:
            self._links.discard(link)


class _Link:
    """One client's connection and the one that was made for it."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        draw: random.Random,
        rename: Callable[[bytes], bytes] | None,
    ) -> None:
        self._client, self._server = client, server
        self._draw = draw
        self._rename = rename
        self._weather = Weather.FAIR
        self._allowance = 0
        self._dead = False

    def turn(self, weather: Weather) -> None:
        self._weather = weather
        self._allowance = self._draw.choice((0, self._draw.randint(0, 5_000), self._draw.randint(0, 500_000)))
        if weather is Weather.HALF_OPEN:
            self._dead = True  # for good: what was half open does not come back
        if weather is Weather.REFUSE:
            self.abort()

    def abort(self) -> None:
        for _, writer in (self._client, self._server):
            writer.transport.abort()

    async def run(self) -> None:
        pumps = [asyncio.create_task(self._up()), asyncio.create_task(self._down())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if self._dead:
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _up(self) -> None:
        reader, writer = self._client[0], self._server[1]
        with contextlib.suppress(OSError):
            while block := await reader.read(READ):
                if self._weather is Weather.READ_ONLY:
                    await self._answer_read_only()
                    return
                if self._weather in {Weather.CUT, Weather.IN_THE_MIDDLE} and not self._spend(len(block)):
                    writer.write(block[: len(block) // 2])
                    return
                if self._weather is Weather.DELAY:
                    await asyncio.sleep(self._draw.uniform(0, DELAY))
                if not self._dead:
                    writer.write(block)
                    await writer.drain()

    async def _down(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while block := await self._answer():
                if self._weather is Weather.UNANSWERED or (
                    self._weather is Weather.CUT and not self._spend(len(block))
                ):
                    return
                if self._weather in {Weather.DELAY, Weather.LATE}:
                    await asyncio.sleep(self._draw.uniform(0, DELAY if self._weather is Weather.DELAY else LATE))
                if not self._dead:
                    self._client[1].write(block)
                    await self._client[1].drain()

    async def _answer(self) -> bytes:
        """Read what the server says: from Kafka a whole answer, from others what is there."""
        reader = self._server[0]
        if self._rename is None:
            return await reader.read(READ)
        head = await reader.readexactly(4)
        return head + self._rename(await reader.readexactly(int.from_bytes(head)))

    def _spend(self, size: int) -> bool:
        self._allowance -= size
        return self._allowance > 0

    async def _answer_read_only(self) -> None:
        """Answer once nothing more comes, and as the server would whose tables are read-only."""
        reader, writer = self._client
        with contextlib.suppress(TimeoutError):
            while await asyncio.wait_for(reader.read(READ), 0.2):
                pass
        writer.write(READ_ONLY % (len(READ_ONLY_TEXT), READ_ONLY_TEXT))
        await writer.drain()
        writer.close()


def _renamed(real: int, shown: int) -> Callable[[bytes], bytes]:
    """Make what replaces one port by another where it follows the broker's address, as in Kafka's answers."""
    old, new = (HOST.encode() + struct.pack(">i", port) for port in (real, shown))
    return lambda answer: answer.replace(old, new)
