"""A request's body: decoded piece by piece, its beginning looked at, the rest streamed."""

from collections.abc import AsyncIterator, Iterable, Iterator

from aiohttp import StreamReader

from deploy.embedded.clickhouse.call import Call
from deploy.embedded.clickhouse.encodings import decoded, decoder
from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.framing import FrameReader

_PIECE = 2**20
"""Bytes of body that are decoded and handed on at a time, so that what a piece costs is paid once for many rows."""

_STEP = 2**13
"""Bytes of an encoded body that are decoded at a time, so that their content, which may be a hundred times as much, is
handed on before it leaves the processor's cache."""


class Decoding:
    """Takes the body as it came over the wire, gives its content. Pure; may run in any one thread at a time."""

    def __init__(self, call: Call) -> None:
        self._encoding = decoder(call.content_encoding)
        self._frames = FrameReader(check=call.check_frames) if call.framed_body else None

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Decode a piece, step by step.

        Raises:
            ClickHouseError: it is not what the request says it is.
        """
        encoding, frames = self._encoding, self._frames
        steps: Iterable[bytes] = [piece]
        if encoding is not None:
            steps = (decoded(encoding, piece[at : at + _STEP]) for at in range(0, len(piece), _STEP))
        for step in steps:
            yield from [step] if frames is None else frames.feed(step)

    def finish(self) -> None:
        """Take note that nothing follows.

        Raises:
            ClickHouseError: something should.
        """
        if self._encoding is not None and not self._encoding.eof:
            raise ClickHouseError(32, "ATTEMPT_TO_READ_AFTER_EOF", "The request's body is cut short")
        if self._frames is not None:
            self._frames.finish()


class Body:
    """One request's body."""

    def __init__(self, call: Call, stream: StreamReader) -> None:
        self._stream = stream
        self.ended = False
        """Nothing follows."""
        self.decoding = Decoding(call)

    async def content(self, limit: int) -> bytes:
        """Read and decode, until that many bytes are there or the body ends.

        Raises:
            ClickHouseError: the body is not what the request says it is.
        """
        content = b""
        while len(content) < limit:
            piece = await self._stream.readany()
            if not piece:
                self.decoding.finish()
                self.ended = True
                break
            content += b"".join(self.decoding.feed(piece))
        return content

    async def rest(self) -> AsyncIterator[bytes]:
        """Give the pieces that follow, not decoded; the caller feeds and finishes ``decoding``."""
        pieces, size = [], 0
        while piece := await self._stream.readany():
            pieces.append(piece)
            size += len(piece)
            if size >= _PIECE:
                yield b"".join(pieces)
                pieces, size = [], 0
        if pieces:
            yield b"".join(pieces)
