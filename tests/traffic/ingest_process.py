"""Ingest in a process of its own: ``python -m tests.traffic.ingest_process BOOTSTRAP PREFIX SETTINGS``.

SETTINGS is JSON, ``{"ingest": {…}, "sources": {…}}``. It prints its port once it takes posts, and ends with SIGTERM.
"""

import asyncio
import json
import signal
import sys

from deploy.event_loop import new_event_loop
from ingest.role import IngestRole
from ingest.settings import IngestSettings, SourceSettings
from streams.contracts.clock import Deadline, SystemClock
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import topics

STOP_WITHIN = 20.0


async def main(bootstrap_servers: str, prefix: str, given: str) -> None:
    settings = json.loads(given)
    role = IngestRole(
        settings=IngestSettings.model_validate({"port": 0, **settings["ingest"]}),
        sources={name: SourceSettings.model_validate(source) for name, source in settings["sources"].items()},
        kafka=KafkaConnection(bootstrap_servers=bootstrap_servers),
        topics=topics(prefix),
    )
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await role.start()
    sys.stdout.write(f"{role.port}\n")
    sys.stdout.flush()
    await told.wait()
    await role.stop(Deadline(STOP_WITHIN, SystemClock()))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(*sys.argv[1:4]))
