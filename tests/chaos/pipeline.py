"""What the fault machine needs of a pipeline, whatever its form."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import psutil

from tests.chaos.clocks import Clock
from tests.chaos.proxy import Proxy


class Pipeline(Protocol):
    """`tests.traffic.running.RunningPipeline`, which is ``todoke up``, or `tests.chaos.fleet.Fleet`."""

    data: Path
    overdue: list[str]
    """Parts that did not end in time when they were told to, and were killed."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Name its roles, without the two servers."""
        ...

    @property
    def networks(self) -> Mapping[tuple[str, str], Proxy]:
        """Give what stands between a role and a server, by both names; empty where nothing does."""
        ...

    @property
    def clocks(self) -> Mapping[str, Clock]:
        """Give the clocks of its parts that can be set; empty where none can."""
        ...

    @property
    def addresses(self) -> tuple[str, ...]:
        """Tell where posts may be sent, ``http://host:port``."""
        ...

    @property
    def kafka(self) -> str:
        """Tell Kafka's address, ``host:port``."""
        ...

    @property
    def clickhouse(self) -> str:
        """Tell ClickHouse's address, ``http://host:port``."""
        ...

    @property
    def is_running(self) -> bool:
        """Tell whether what keeps the parts alive is there."""
        ...

    @property
    def output(self) -> str:
        """Give what was said."""
        ...

    @property
    def run(self) -> Mapping[str, Any]:
        """Tell which processes run, as ``run.json`` does."""
        ...

    def process(self, name: str) -> psutil.Process:
        """Find the process of a part; LookupError if it does not run now."""
        ...

    def kill(self, name: str) -> int:
        """Kill a part with all that it started; give its process id; LookupError if it does not run now."""
        ...

    async def start(self) -> None:
        """Return once posts are taken."""
        ...

    async def stop(self) -> int:
        """End it in good order; give the exit code."""
        ...

    async def kill_everything(self) -> None:
        """Kill all of it at once."""
        ...

    async def spawn(self, *arguments: str, env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start another role beside those that it has."""
        ...

    async def command(self, name: str, *arguments: str) -> tuple[int, str]:
        """Run a command of todoke on it; give its exit code and what it said."""
        ...

    async def audit(self, *, wait: float = 120.0) -> tuple[int, str]:
        """Run ``todoke audit``; give its exit code and what it said."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
