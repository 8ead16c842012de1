"""The answer to one query: gathered until its status is sure, then streamed, compressed as the client asked."""

import asyncio
import secrets
import string
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from aiohttp import web

from deploy.embedded.clickhouse.call import Call
from deploy.embedded.clickhouse.encodings import Encoder, encoder
from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.framing import frame
from deploy.embedded.clickhouse.progress import Progress
from deploy.embedded.clickhouse.statuses import status_of

_PIECE = 2**20  # bytes that are compressed and sent at a time
_IN_LOOP = 64 * 1024  # bytes that are compressed faster than a thread is asked for it
_REQUIRED_PASSWORD = 194


class _Rest(Enum):
    """What follows a piece."""

    MORE = "more"
    NOTHING = "nothing"
    CUT = "cut"
    """Nothing, though the end is missing; compression leaves its end's mark away as well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """How much of a result is gathered, and where."""

    head: int
    """Bytes before the answer's head is sent."""

    in_memory: int
    """Bytes in memory where all of a result is gathered; the rest goes to a file."""

    folder: Path
    """Where that file is."""


class Reply:
    """One answer. ``write`` as often as needed, then ``finish`` or ``fail``, then ``close``."""

    def __init__(self, request: web.Request, call: Call | None, *, headers: dict[str, str], holding: Holding) -> None:
        """Begin an answer.

        Args:
            request: what is answered.
            call: the same, read; None if it cannot be read.
            headers: headers of every answer.
            holding: how much is gathered.
        """
        self._request = request
        self._framed = call is not None and call.framed_answer
        self._encoding = None if call is None else call.answer_encoding
        self._zlib_level = 1 if call is None else call.zlib_level
        self._whole = call is not None and call.wait_end
        self._head = holding.head if call is None else max(holding.head, call.buffer_size)
        self._held = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by `close`
            holding.in_memory, dir=str(holding.folder)
        )
        self._encoder: Encoder | None = None
        self._response: web.StreamResponse | None = None
        self._tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        self.headers = headers | {"X-ClickHouse-Exception-Tag": self._tag}
        """To be added to while nothing was sent."""
        if call is not None:
            self.headers["X-ClickHouse-Query-Id"] = call.query_id

    async def write(self, piece: bytes) -> None:
        """Take a piece of the result."""
        if self._response is not None:
            await self._send(piece, _Rest.MORE)
            return
        self._held.write(piece)
        if not self._whole and self._held.tell() >= self._head:
            # How many rows it will be is not known yet. JDBC takes "0" for an empty result.
            await self._begin(Progress(result_rows=1))

    async def finish(self, progress: Progress) -> web.StreamResponse:
        """End the answer of a query that succeeded."""
        if self._response is None and self._held.tell() <= self._head:
            return await self._at_once(200, progress)
        response = self._response or await self._begin(progress)
        await self._send(b"", _Rest.NOTHING)
        await response.write_eof()
        return response

    async def fail(self, error: ClickHouseError) -> web.StreamResponse:
        """End the answer of a query that failed: with a status of its own, or, too late for that, within the result.

        Then the result is followed by a marked text, as ClickHouse does since 25.11, and the connection is closed where
        more is expected, so that a client takes note that does not know the marker.
        """
        text = f"{error.message}\n".encode()
        if self._response is None:
            self._held.seek(0)
            self._held.truncate()
            self._held.write(text)
            self.headers["X-ClickHouse-Exception-Code"] = str(error.code)
            self.headers["Content-Type"] = "text/plain; charset=UTF-8"
            if error.code == _REQUIRED_PASSWORD:
                self.headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
            return await self._at_once(status_of(error.code), Progress())
        tag = self._tag.encode()
        marked = b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag, text, len(text), tag)
        await self._send(marked, _Rest.CUT)
        if self._request.transport is not None:
            self._request.transport.close()
        return self._response

    def close(self) -> None:
        """Free what is held."""
        self._held.close()

    async def _at_once(self, status: int, progress: Progress) -> web.StreamResponse:
        """Answer with all that is held; its size is known then."""
        self._held.seek(0)
        content = self._held.read()
        self._describe(progress, encoded=bool(content))
        content = await self._encoded(content, _Rest.NOTHING)
        return web.Response(status=status, body=content, headers=self.headers)

    async def _begin(self, progress: Progress) -> web.StreamResponse:
        """Send the head and what is held."""
        self._describe(progress, encoded=True)
        self._response = web.StreamResponse(headers=self.headers)
        if self._request.version >= (1, 1):
            self._response.enable_chunked_encoding()
        await self._response.prepare(self._request)
        self._held.seek(0)
        while piece := self._held.read(_PIECE):
            await self._send(piece, _Rest.MORE)
        self._held.close()
        return self._response

    def _describe(self, progress: Progress, *, encoded: bool) -> None:
        self.headers["X-ClickHouse-Summary"] = progress.summary()
        if self._encoding is not None and encoded:
            self.headers["Content-Encoding"] = self._encoding

    async def _send(self, piece: bytes, rest: _Rest) -> None:
        assert self._response is not None  # noqa: S101 - the callers see to it
        if encoded := await self._encoded(piece, rest):
            await self._response.write(encoded)

    async def _encoded(self, piece: bytes, rest: _Rest) -> bytes:
        if len(piece) <= _IN_LOOP or not (self._framed or self._encoding):
            return self._encode(piece, rest)
        return await asyncio.to_thread(self._encode, piece, rest)

    def _encode(self, piece: bytes, rest: _Rest) -> bytes:
        if self._framed:
            piece = frame(piece)
        if self._encoding is None or not (piece or self._encoder):
            return piece
        if self._encoder is None:
            self._encoder = encoder(self._encoding, zlib_level=self._zlib_level)
        encoded = self._encoder.compress(piece) if piece else b""
        match rest:
            case _Rest.MORE:
                return encoded
            case _Rest.NOTHING:
                return encoded + self._encoder.finish()
            case _Rest.CUT:
                return encoded + self._encoder.sync()
