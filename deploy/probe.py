"""Asks a process of this machine whether it does its work, without a client library's weight."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

import psutil

_CORRELATION_ID = 1
_ANSWER = struct.Struct(">ii")
"""What each answer begins with: its size in bytes without this number, and the request's correlation id."""
_REQUEST = struct.Struct(">ihhih")
_API_VERSIONS = _REQUEST.pack(_REQUEST.size - 4, 18, 0, _CORRELATION_ID, -1)
"""Size, key of ApiVersions, its version, correlation id, no client's name (kafka.apache.org/protocol)."""


async def http_status(host: str, port: int, path: str, *, patience: float = 2.0) -> int | None:
    """Tell the status with which a server answers a GET; ``None`` where nobody answers."""
    try:
        async with asyncio.timeout(patience), _connection(host, port) as (reader, writer):
            writer.write(_get(host, port, path))
            line = await reader.readline()
        return int(line.split()[1])
    except (OSError, TimeoutError, IndexError, ValueError, RuntimeError):  # the last one is uvloop's: `event_loop`
        return None


async def reacts(host: str, port: int, path: str, *, patience: float) -> bool:
    """Tell whether a server does something about a GET: one that has no room for it may end the connection unread.

    Of a process that hangs the system takes connections, too, but nothing follows.
    """
    is_connected = False
    try:
        async with asyncio.timeout(patience), _connection(host, port) as (reader, writer):
            is_connected = True
            writer.write(_get(host, port, path))
            await reader.read(1)
    except (ConnectionError, RuntimeError):
        return is_connected
    except (OSError, TimeoutError):
        return False
    return True


async def kafka_answers(host: str, port: int, *, patience: float = 2.0) -> bool:
    """Tell whether a broker answers the question for the versions that it speaks.

    That it takes connections says little: the system does so for a process that hangs.
    """
    try:
        async with asyncio.timeout(patience), _connection(host, port) as (reader, writer):
            writer.write(_API_VERSIONS)
            answer = await reader.readexactly(_ANSWER.size)
        return bool(_ANSWER.unpack(answer)[1] == _CORRELATION_ID)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, RuntimeError):
        return False


@contextlib.asynccontextmanager
async def _connection(host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _get(host: str, port: int, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()


def listens_itself(pid: int, port: int) -> bool:
    """Tell whether a process, or one that it started, is the one that takes connections at a port.

    True also where the system does not tell.
    """
    try:
        process = psutil.Process(pid)
        return _listens(process, port) or any(_listens(child, port) for child in process.children(recursive=True))
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OSError, RuntimeError):
        return True


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        found = process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OSError, RuntimeError):
        return True
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)
