"""A server as a child process: watched, stopped, killed, started again."""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

logger = logging.getLogger(__name__)

TAIL = 15
"""Lines of a server's log that an error shows."""


class ServerProcess(ABC):
    """One server on loopback, in one data folder.

    It never outlives the process that started it (on Linux), and no two run on one folder. What it acknowledged
    survives ``kill()``. It keeps its port over restarts.
    """

    name: ClassVar[str]
    """What people call it."""

    _process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id while the server runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @abstractmethod
    async def start(self) -> None:
        """Start the server and return once it answers.

        Raises:
            EmbeddedServerError: one of its kinds, each with what to do.
        """

    async def wait(self) -> int:
        """Return when the server's process has ended, by whatever cause: its exit code, negative for a signal."""
        if self._process is None:
            raise RuntimeError(f"this {self.name} was never started")
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
                "%s did not stop within %.0f s and is killed; nothing acknowledged is lost by it", self.name, timeout
            )
            await self._end()

    def kill(self) -> None:
        """Take the server down with SIGKILL, at once; ``wait`` tells when it is gone."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def restart(self) -> None:
        """Stop the server, if it runs, and start it again on the same port.

        Raises:
            EmbeddedServerError: as ``start``.
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

    async def _end(self) -> None:
        """Kill the server and wait until it is gone."""
        self.kill()
        await self.wait()


def size_of(log: Path) -> int:
    """Tell how long a log is before a server is started, and make the folder that it is in."""
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.stat().st_size if log.exists() else 0


def last_lines(*logs: tuple[Path, int]) -> str:
    """Give the end of what was logged, for an error's message.

    Args:
        logs: files, and where in each of them to begin.
    """
    lines: list[str] = []
    for path, begin in logs:
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(begin)
            lines += file.read().decode("utf-8", errors="replace").splitlines()[-TAIL:]
    return "\n".join(["The last lines of its log:", *lines]) if lines else f"It logged nothing to {logs[0][0]}."
