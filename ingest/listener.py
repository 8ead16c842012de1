"""Listening for connections, no more of them than there is memory for."""

import asyncio
import logging
from typing import cast

from aiohttp import web
from aiohttp.http import HttpProcessingError

from ingest.alarms import Alarm
from streams.contracts.clock import Clock
from streams.contracts.errors import ConfigurationError

logger = logging.getLogger(__name__)

http_logger = logging.getLogger("ingest.http")
"""For the HTTP server: what it says of requests that are no HTTP is left out, see `tells_no_head`."""


def tells_no_head(record: logging.LogRecord) -> bool:
    """Pass what does not quote a request's head. That may hold a secret, and strangers could fill the log with it.

    Its sender is told by status 400.
    """
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


http_logger.addFilter(tells_no_head)


class Listener:
    """Hands connections to an HTTP server. One too many is answered 503 before anything of it is read, and closed."""

    def __init__(self, *, host: str, port: int, waiting: int, limit: int, retry_after: int, clock: Clock) -> None:
        """Describe it.

        Args:
            host: address to listen on.
            port: of it; 0 picks a free one.
            waiting: connections that the system holds until they are accepted.
            limit: connections that may be open.
            retry_after: seconds that the sender of one too many is asked to wait.
            clock: tells the time.
        """
        self._host = host
        self._port = port
        self._waiting = waiting
        self._limit = limit
        self._refusal = (
            f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {retry_after}\r\nContent-Length: 0\r\n"
            f"Connection: close\r\n\r\n"
        ).encode()
        self._alarm = Alarm(logger, "more than %s connections: %d were refused since the last warning", clock)
        self._server: asyncio.Server | None = None

    async def start(self, http: web.Server) -> int:
        """Listen; give the port.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """

        def protocol() -> asyncio.Protocol:
            if len(http.connections) < self._limit:
                return http()
            self._alarm.ring(str(self._limit))
            return _Refusal(self._refusal)

        try:
            self._server = await asyncio.get_running_loop().create_server(
                protocol, self._host, self._port, backlog=self._waiting
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {self._host}:{self._port} ({error.strerror}): choose another ingest.port, 0 "
                f"for any free one, or end the process that has it"
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Accept no more connections; those that are open stay. May be called twice."""
        if self._server is not None:
            self._server.close()


class _Refusal(asyncio.Protocol):
    """Answers without having read."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A connection can be written to, though uvloop's transports are not of asyncio's class for that.
        cast("asyncio.WriteTransport", transport).write(self._answer)
        transport.close()
