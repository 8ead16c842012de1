"""One connection to a webhook endpoint, on bare streams: the sender shares the machine with what it drives."""

import asyncio
from typing import NamedTuple
from urllib.parse import urlsplit

FAILURES = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
"""How a post can end without an answer."""


class Answer(NamedTuple):
    """What the endpoint said."""

    status: int
    body: bytes


class Connection:
    """Kept open from post to post, opened anew after a failure."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._host, self._port, self._path = target.hostname or "127.0.0.1", target.port or 80, target.path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, content_type: str, *, patience: float) -> Answer:
        """Send a post and wait for its answer, so many seconds in all.

        Raises:
            OSError: the connection failed; TimeoutError is one of these.
            IncompleteReadError: it ended before the answer did.
        """
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(patience):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self._host, self._port)
                return await _exchange(*self._streams, head.encode() + body)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Answer:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    body = b""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            body = await reader.readexactly(int(value))
    return Answer(int(head[9:12]), body)
