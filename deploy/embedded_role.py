"""The embedded Kafka and ClickHouse as roles, so that they run, stop and report errors like every other part."""

from collections.abc import Mapping
from typing import Any, Protocol

from streams.contracts.clock import Deadline
from streams.contracts.errors import TodokeError


class Store(Protocol):
    """A server that is started and watched from this process."""

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        ...

    async def start(self) -> None:
        """Return once it answers."""
        ...

    async def wait(self) -> int:
        """Return its exit code once it has ended."""
        ...

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 - the server's grace, not this call's
        """End it in good order, or kill it after so many seconds."""
        ...


class StoreEndedError(TodokeError):
    """The server ended though nobody asked for it."""

    retriable = True


class EmbeddedRole:
    """One embedded server as a `streams.contracts.role.Role`."""

    def __init__(self, name: str, store: Store) -> None:
        self._name = name
        self._store = store

    async def start(self) -> None:
        """Start the server and return once it answers."""
        await self._store.start()

    async def wait(self) -> None:
        """Watch the server.

        Raises:
            StoreEndedError: it ended.
        """
        code = await self._store.wait()
        raise StoreEndedError(f"{self._name} ended with exit code {code}; its own log says why")

    async def stop(self, deadline: Deadline) -> None:
        """End the server."""
        await self._store.stop(max(0.1, deadline.remaining() - 0.5))

    async def until_idle(self) -> None:
        """Return at once: a server has nothing of its own to do."""

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether the server runs."""
        return self._store.pid is not None, {"pid": self._store.pid}
