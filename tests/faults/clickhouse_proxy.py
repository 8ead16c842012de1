"""A proxy in front of a ClickHouse server that fails as a server, its disk or the network may."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Self

import aiohttp
from aiohttp import web

KEPT_HEADERS = ("Content-Type", "X-ClickHouse-Exception-Code", "X-ClickHouse-Format", "X-ClickHouse-Summary")


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A request to the server, and what can be done about it."""

    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    proxy: "ClickHouseProxy"

    @property
    def inserts_into(self) -> str | None:
        """The table that the request inserts into, ``None`` where it does something else."""
        statement = self.query.get("query") or self.body[:200].decode(errors="replace")
        words = statement.split(maxsplit=3)
        return words[2].split(".")[-1].strip("`") if words[:2] == ["INSERT", "INTO"] else None

    async def forward(self, **settings: str) -> web.Response:
        """Bring it to the server, with settings of ClickHouse that the client did not give."""
        async with self.proxy.session.post(
            self.proxy.target, params={**self.query, **settings}, headers=self.headers, data=BytesIO(self.body)
        ) as answer:
            kept = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    async def forward_half(self) -> None:
        """Bring half of it to the server, then hang up there."""

        async def half() -> AsyncIterator[bytes]:
            yield self.body[: len(self.body) // 2]
            raise ConnectionAbortedError

        headers = {**self.headers, "Content-Length": str(len(self.body))}
        try:
            async with self.proxy.session.post(self.proxy.target, params=self.query, headers=headers, data=half()):
                pass
        except (aiohttp.ClientError, ConnectionAbortedError):
            return


class HungUpError(Exception):
    """Raised by a fault: the client's connection breaks without an answer."""


Fault = Callable[[Call], Awaitable[web.Response]]


async def no_fault(call: Call) -> web.Response:
    """Work."""
    return await call.forward()


def refusing(code: int, text: str) -> Fault:
    """Answer with an error of ClickHouse's."""

    async def refuse(_: Call) -> web.Response:
        return web.Response(
            status=500,
            headers={"X-ClickHouse-Exception-Code": str(code)},
            text=f"Code: {code}. DB::Exception: {text}",
        )

    return refuse


async def hanging_up(_: Call) -> web.Response:
    """Break the connection at once."""
    raise HungUpError


async def breaking_off(call: Call) -> web.Response:
    """Break both connections in the middle of the request."""
    await call.forward_half()
    raise HungUpError


async def losing_the_answer(call: Call) -> web.Response:
    """Do what is asked, and break the connection instead of telling so."""
    await call.forward()
    raise HungUpError


@dataclass(kw_only=True)
class ClickHouseProxy:
    """Listens on a port of its own and forwards to a server; inserts may go wrong on the way."""

    target: str
    fault: Fault = no_fault
    """What happens to inserts from now on."""
    faults: deque[Fault] = field(default_factory=deque)
    """What happens to the very next inserts, each one's own."""
    inserts: int = 0
    """How many came."""
    port: int = 0
    _session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The connections to the server."""
        assert self._session is not None
        return self._session

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve."""
        runner = web.ServerRunner(web.Server(self._serve, auto_decompress=False), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as self._session:
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        ours = ("X-ClickHouse-", "Content-Encoding")
        kept = {name: value for name, value in request.headers.items() if name.startswith(ours)}
        call = Call(query=dict(request.query), headers=kept, body=await request.content.read(), proxy=self)
        if call.inserts_into is None:
            return await call.forward()
        self.inserts += 1
        fault = self.faults.popleft() if self.faults else self.fault
        try:
            return await fault(call)
        except HungUpError:
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError from None
