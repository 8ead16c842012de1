"""A worker that gets stuck after a while: ``python -m tests.integration.streams.stuck_process HOW SERVER PREFIX``."""

import logging
import sys
import time

from prometheus_client import CollectorRegistry

from deploy.roles import Running, run_role
from streams.role import WorkerRole
from streams.settings import WorkerSettings
from tests.integration.streams.stage import stage_in


class StuckRole(WorkerRole):
    """Works off what is there, then something in it does not go on."""

    how = ""

    async def start(self) -> None:
        await super().start()
        await self.until_idle()
        assert self._app is not None
        loop = self._app.consumer._thread.thread_loop  # type: ignore[attr-defined]  # of Faust's driver
        if self.how == "consumer ended":
            loop.call_soon_threadsafe(loop.stop)
        else:
            loop.call_soon_threadsafe(time.sleep, 3600)
        print("stuck", flush=True)  # noqa: T201 - read by the test


def main(how: str, bootstrap_servers: str, prefix: str) -> int:
    stage = stage_in(bootstrap_servers, prefix, 1)
    settings = WorkerSettings(group=stage.group, watchdog=3, nudge=1)
    StuckRole.how = how
    return run_role(
        lambda: StuckRole(
            settings=settings, connection=stage.connection, topics=stage.topics, registry=CollectorRegistry()
        ),
        Running(name="worker", stop_deadline=25, admin=None),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    sys.exit(main(*sys.argv[1:4]))
