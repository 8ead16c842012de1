"""The server as a child process: started, watched, stopped, killed, started again."""

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.embedded.child import start_child
from deploy.embedded.clickhouse.errors import (
    EmbeddedClickHouseError,
    FolderInUseError,
    FolderVersionError,
    PortInUseError,
    ServerFailedError,
)
from deploy.embedded.clickhouse.folder import DataFolder
from deploy.embedded.clickhouse.settings import LOOPBACK
from deploy.exit import Exit

logger = logging.getLogger(__name__)

_POLL = 0.05  # seconds between two looks whether it answers
_TAIL = 15  # lines of the server's log that an error shows


class EmbeddedClickHouse:
    """One server on loopback.

    It never outlives the process that started it (on Linux), and no two run on one folder. What it has acknowledged
    survives ``kill()``. It keeps its port over restarts.
    """

    def __init__(
        self,
        *,
        data: Path,
        port: int = 0,
        user: str = "default",
        password: str = "",
        log: Path | None = None,
        start_within: float = 60.0,
    ) -> None:
        """Describe the server; nothing happens before ``start``.

        Args:
            data: folder that is the server's alone; made where it is missing.
            port: where clients connect; 0 takes one that the system chooses.
            user: name of its one user.
            password: of that user; empty asks for none.
            log: file that the server logs to; None is ``server.log`` in the data folder.
            start_within: seconds from the start until it must answer. After a kill it first looks through its tables.
        """
        self._folder = DataFolder(data)
        self._port = port
        self.user = user
        """Name of the one user."""
        self.password = password
        """The user's password, or empty."""
        self._log = (log or self._folder.log).absolute()
        self._start_within = start_within
        self._process: asyncio.subprocess.Process | None = None

    @property
    def host(self) -> str:
        """Where it listens."""
        return LOOPBACK

    @property
    def port(self) -> int:
        """Where clients connect; known once it was started."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients connect, without name and password; known once it was started."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id while the server runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the server and return once it answers.

        Raises:
            EmbeddedClickHouseError: one of its kinds, each with what to do.
        """
        if self.pid is not None:
            raise RuntimeError("this server is running")
        self._folder.lock().release()  # so that a folder in use is told by its own error
        self._log.parent.mkdir(parents=True, exist_ok=True)
        logged = self._log.stat().st_size if self._log.exists() else 0
        self._process = await start_child(
            [
                sys.executable, "-P", "-m", "deploy.embedded.clickhouse",
                "--data", str(self._folder.path), "--port", str(self._port), "--user", self.user,
            ],
            env={**os.environ, "TODOKE_CLICKHOUSE__PASSWORD": self.password},
            log_path=self._log,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._start_within):
                url = await self._announced(self._process)
        except TimeoutError:
            self.kill()
            await self._process.wait()
            raise ServerFailedError(
                f"ClickHouse did not answer within {self._start_within:.0f} s; it is ended. "
                f"If it was busy reading its tables, start again with more time.\n{self._said(logged)}"
            ) from None
        except BaseException:
            self.kill()
            await self._process.wait()
            raise
        if url is None:
            raise self._failure(self._process.returncode or 0, self._said(logged))
        self._port = int(url.rpartition(":")[2])
        logger.info("ClickHouse answers on %s, process %d", self.url, self._process.pid)

    async def wait(self) -> int:
        """Return when the server's process has ended, by whatever cause: its exit code, negative for a signal."""
        if self._process is None:
            raise RuntimeError("this server was never started")
        return await self._process.wait()

    async def stop(self, timeout: float = 20.0) -> None:  # noqa: ASYNC109 - the server's grace, not this call's
        """End the server in good order, or kill it when that takes over ``timeout`` seconds. May be called twice."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(timeout):
                await self._process.wait()
        except TimeoutError:
            logger.warning(
                "ClickHouse did not stop within %.0f s and is killed; nothing acknowledged is lost by it", timeout
            )
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """Take the server down with SIGKILL, at once; ``wait`` tells when it is gone."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def restart(self) -> None:
        """Stop the server, if it runs, and start it again on the same port.

        Raises:
            EmbeddedClickHouseError: as ``start``.
        """
        await self.stop()
        await self.start()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _announced(self, process: asyncio.subprocess.Process) -> str | None:
        """Wait until the server says where it answers; None if it has ended instead."""
        while process.returncode is None:
            if (url := self._folder.announced(process.pid)) is not None:
                return url
            await asyncio.sleep(_POLL)
        return None

    def _failure(self, code: int, said: str) -> EmbeddedClickHouseError:
        if code == Exit.MISUSED and "is in use by another program" in said:
            return PortInUseError(LOOPBACK, self._port)
        if code == Exit.MISUSED and "data folder" in said:
            if "is in use by" in said:
                return FolderInUseError(self._folder.path, None)
            return FolderVersionError(said)
        return ServerFailedError(f"ClickHouse ended at its start with exit code {code}.\n{said}")

    def _said(self, begin: int) -> str:
        """Give the end of what the server said since it was started."""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(begin)
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-_TAIL:])
        return f"It logged nothing to {self._log}."
