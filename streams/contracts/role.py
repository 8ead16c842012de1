"""What every long-running part of the pipeline looks like to whoever runs it."""

from collections.abc import Mapping
from typing import Any, Protocol

from streams.contracts.clock import Deadline


class Role(Protocol):
    """One long-running part: ingest, a worker, a sink. Created idle, started once, stopped once."""

    async def start(self) -> None:
        """Begin, and return once the role does its work.

        Raises:
            TodokeError: it cannot begin; the message says what to do.
        """
        ...

    async def wait(self) -> None:
        """Return when the role has been stopped.

        Raises:
            Exception: what ended the role by itself. A supervisor starts the process again.
        """
        ...

    async def stop(self, deadline: Deadline) -> None:
        """Take nothing new, bring what was begun to its end within the deadline, release everything.

        Never loses anything: what the deadline cuts off is done again by the next process. May be called twice.
        """
        ...

    async def until_idle(self) -> None:
        """Return as soon as everything that was there has been worked off."""
        ...

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether the role can do its work now, and in what state it is, as JSON for people and probes."""
        ...
