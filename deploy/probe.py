"""Asks a process of this machine whether it does its work, without a client library's weight."""

import asyncio
import contextlib

import psutil


async def http_status(host: str, port: int, path: str, *, patience: float = 2.0) -> int | None:
    """Tell the status with which a server answers a GET; ``None`` where nobody answers."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            line = await reader.readline()
            return int(line.split()[1])
    except (OSError, TimeoutError, IndexError, ValueError):
        return None
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def listens(host: str, port: int, *, patience: float = 2.0) -> bool:
    """Tell whether somebody takes connections there."""
    try:
        async with asyncio.timeout(patience):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


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
