"""A sink whose fetcher ends after a while: ``python -m tests.integration.sinks.stuck_process SERVER PREFIX``."""

import logging
import sys

from prometheus_client import CollectorRegistry

from deploy.roles import Running, run_role
from sinks.role import TopicsSinkRole
from sinks.settings import TopicsSinkSettings
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import topics
from tests.integration.sinks.breaking import end_fetcher


class StuckRole(TopicsSinkRole):
    """Publishes what is there, then fetches nothing more."""

    async def start(self) -> None:
        await super().start()
        await self.until_idle()
        await end_fetcher(self)
        print("stuck", flush=True)  # noqa: T201 - read by the test


def main(bootstrap_servers: str, prefix: str) -> int:
    return run_role(
        lambda: StuckRole(
            kafka=KafkaConnection(bootstrap_servers=bootstrap_servers),
            topics=topics(prefix),
            settings=TopicsSinkSettings(watchdog=3),
            registry=CollectorRegistry(),
        ),
        Running(name="sink", stop_deadline=25, admin=None),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    sys.exit(main(*sys.argv[1:3]))
