"""The server as a child process."""

import asyncio
import logging
import os
import sys
from pathlib import Path

from deploy.embedded.child import start_child
from deploy.embedded.clickhouse.folder import DataFolder
from deploy.embedded.clickhouse.settings import LOOPBACK
from deploy.embedded.errors import (
    EmbeddedServerError,
    FolderInUseError,
    FolderVersionError,
    PortInUseError,
    ServerFailedError,
)
from deploy.embedded.server_process import ServerProcess, last_lines, size_of
from deploy.exit import Exit

logger = logging.getLogger(__name__)

_POLL = 0.05  # seconds between two looks whether it answers


class EmbeddedClickHouse(ServerProcess):
    """One server."""

    name = "ClickHouse"

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

    async def start(self) -> None:
        """Start the server and return once it answers.

        Raises:
            EmbeddedServerError: one of its kinds, each with what to do.
        """
        if self.pid is not None:
            raise RuntimeError("this server is running")
        lock = self._folder.lock()  # so that a folder in use is told by its own error
        try:
            self._folder.conceal()  # what a killed server has announced: the next one may get its process id
        finally:
            lock.release()
        logged = size_of(self._log)
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
            await self._end()
            raise ServerFailedError(
                f"ClickHouse did not answer within {self._start_within:.0f} s; it is ended. "
                f"If it was busy reading its tables, start again with more time.\n{last_lines((self._log, logged))}"
            ) from None
        except BaseException:
            await self._end()
            raise
        if url is None:
            raise self._failure(self._process.returncode or 0, last_lines((self._log, logged)))
        self._port = int(url.rpartition(":")[2])
        logger.info("ClickHouse answers on %s, process %d", self.url, self._process.pid)

    async def _announced(self, process: asyncio.subprocess.Process) -> str | None:
        """Wait until the server says where it answers; None if it has ended instead."""
        while process.returncode is None:
            if (url := self._folder.announced(process.pid)) is not None:
                return url
            await asyncio.sleep(_POLL)
        return None

    def _failure(self, code: int, said: str) -> EmbeddedServerError:
        if code == Exit.MISUSED and "is in use by another program" in said:
            return PortInUseError(self.name, LOOPBACK, self._port)
        if code == Exit.MISUSED and "data folder" in said:
            if "is in use by" in said:
                return FolderInUseError(self.name, self._folder.path, None)
            return FolderVersionError(said)
        return ServerFailedError(f"ClickHouse ended at its start with exit code {code}.\n{said}")
