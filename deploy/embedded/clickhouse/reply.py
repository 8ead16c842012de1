"""The answer to one query: gathered until its status is sure, then streamed, compressed as the client asked."""

import asyncio
import secrets
import string
import tempfile
from pathlib import Path

from aiohttp import web

from deploy.embedded.clickhouse.call import Call
from deploy.embedded.clickhouse.encodings import Encoder, encoder
from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.framing import frame
from deploy.embedded.clickhouse.progress import Progress
from deploy.embedded.clickhouse.statuses import status_of

_TAG_ALPHABET = string.ascii_lowercase
_IN_LOOP = 64 * 1024  # bytes that are compressed faster than a thread is asked for it
_UNKNOWN = Progress(result_rows=1)


class Reply:
    """One answer. ``write`` as often as needed, then ``finish`` or ``fail``."""

    def __init__(
        self,
        request: web.Request,
        call: Call,
        *,
        server_headers: dict[str, str],
        buffer_size: int,
        hold_in_memory: int,
        temporary: Path,
    ) -> None:
        """Begin an answer.

        Args:
            request: what is answered.
            call: the same, read.
            server_headers: headers of every answer.
            buffer_size: bytes gathered before the head is sent.
            hold_in_memory: bytes gathered in memory where all of a result must be gathered.
            temporary: folder for what is gathered beyond that.
        """
        self._request = request
        self._call = call
        self._tag = "".join(secrets.choice(_TAG_ALPHABET) for _ in range(16))
        self._buffer_size = max(buffer_size, call.buffer_size)
        self._hold = call.wait_end
        self._held = tempfile.SpooledTemporaryFile(hold_in_memory, dir=temporary)  # noqa: SIM115 - closed by `close`
        self._size = 0
        self._encoder: Encoder | None = None
        self._response: web.StreamResponse | None = None
        self.headers = server_headers | {
            "X-ClickHouse-Query-Id": call.query_id,
            "X-ClickHouse-Exception-Tag": self._tag,
        }

    async def write(self, piece: bytes) -> None:
        """Take a piece of the result."""
        if self._response is None:
            self._held.write(piece)
            self._size += len(piece)
            if self._hold or self._size < self._buffer_size:
                return
            await self._begin(_UNKNOWN)
        else:
            await self._send(piece)

    async def finish(self, progress: Progress) -> web.StreamResponse:
        """End the answer of a query that succeeded."""
        if self._response is None:
            if not self._hold or self._size <= self._buffer_size:
                return await self._whole(200, progress)
            await self._begin(progress)
        assert self._response is not None  # noqa: S101 - just begun
        await self._send(b"", last=True)
        await self._response.write_eof()
        return self._response

    async def fail(self, error: ClickHouseError, progress: Progress | None = None) -> web.StreamResponse:
        """End the answer of a query that failed: with a status of its own, or, too late for that, within the result.

        Then the connection is closed in the middle, so that even a client that does not know the marker takes note.
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
            return await self._whole(status_of(error.code), progress or Progress())
        tag = self._tag.encode()
        await self._send(
            b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag, text, len(text), tag), last=True
        )
        if self._request.transport is not None:
            self._request.transport.close()
        return self._response

    def close(self) -> None:
        """Free what is held."""
        self._held.close()

    async def _whole(self, status: int, progress: Progress) -> web.StreamResponse:
        """Answer with all that is held, at once."""
        self._held.seek(0)
        content = self._held.read()
        self.headers["X-ClickHouse-Summary"] = progress.summary()
        if self._call.answer_encoding is not None and content:
            self.headers["Content-Encoding"] = self._call.answer_encoding
        content = await self._encoded(content, last=True)
        return web.Response(status=status, body=content, headers=self.headers)

    async def _begin(self, progress: Progress) -> None:
        """Send the head and what is held."""
        self.headers["X-ClickHouse-Summary"] = progress.summary()
        if self._call.answer_encoding is not None:
            self.headers["Content-Encoding"] = self._call.answer_encoding
        self._response = web.StreamResponse(status=200, headers=self.headers)
        if self._request.version >= (1, 1):
            self._response.enable_chunked_encoding()
        await self._response.prepare(self._request)
        self._held.seek(0)
        while piece := self._held.read(self._buffer_size):
            await self._send(piece)
        self._held.close()

    async def _send(self, piece: bytes, *, last: bool = False) -> None:
        assert self._response is not None  # noqa: S101 - the callers see to it
        if encoded := await self._encoded(piece, last=last):
            await self._response.write(encoded)

    async def _encoded(self, piece: bytes, *, last: bool) -> bytes:
        if not self._call.framed_answer and self._call.answer_encoding is None:
            return piece
        if len(piece) <= _IN_LOOP:
            return self._encode(piece, last=last)
        return await asyncio.to_thread(self._encode, piece, last=last)

    def _encode(self, piece: bytes, *, last: bool) -> bytes:
        if self._call.framed_answer:
            piece = frame(piece)
        if self._call.answer_encoding is None:
            return piece
        if self._encoder is None:
            if last and not piece:
                return b""
            self._encoder = encoder(self._call.answer_encoding, zlib_level=self._call.zlib_level)
        encoded = self._encoder.compress(piece) if piece else b""
        return encoded + self._encoder.flush() if last else encoded


_REQUIRED_PASSWORD = 194
