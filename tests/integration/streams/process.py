"""A worker in a process of its own, for being killed: ``python -m tests.integration.streams.process``."""

import asyncio
import logging
import sys

from deploy.event_loop import new_event_loop
from tests.integration.streams.stage import Stage, stage_in


async def main(bootstrap_servers: str, prefix: str, shards: str, group: str, instance: str) -> None:
    stage: Stage = stage_in(bootstrap_servers, prefix, int(shards))
    stage.group = group
    worker = stage.worker(instance=instance or None)
    await worker.start()
    await worker.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(*sys.argv[1:6]))
