"""The broker alone, in the foreground: ``python -m deploy.embedded.kafka --data DIR``.

It stops in good order on SIGTERM or SIGINT, and goes with this process when that is killed. Exit codes: 0 it was asked
to stop; 2 it cannot run as asked, and somebody must change something; 75 (EX_TEMPFAIL of sysexits.h) it may work when
started again.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.embedded.kafka.broker import EmbeddedKafka
from deploy.embedded.kafka.errors import BrokerFailedError
from streams.contracts.errors import TodokeError

logger = logging.getLogger("todoke.kafka")

_EXIT_REFUSED = 2


async def serve(broker: EmbeddedKafka, *, stop_within: float) -> None:
    """Run a broker until SIGTERM or SIGINT, then stop it within so many seconds.

    Raises:
        TodokeError: it could not start, or ended by itself.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    running = asyncio.create_task(_run(broker))
    stopping = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            running.result()
    finally:
        for task in (running, stopping):
            task.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)
        await broker.stop(stop_within)


async def _run(broker: EmbeddedKafka) -> None:
    await broker.start()
    code = await broker.wait()
    raise BrokerFailedError(f"Kafka ended by itself with exit code {code}. Start it again; its log tells why.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded.kafka", description="Apache Kafka on loopback.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the broker's own data folder")
    parser.add_argument("--port", type=int, default=0, help="0 takes the folder's last port, or a free one")
    parser.add_argument("--heap", default="256m", help="limit of the Java heap (default: %(default)s)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where the jars are kept")
    parser.add_argument("--stop-within", type=float, default=20.0, metavar="SECONDS", help="then it is killed")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        broker = EmbeddedKafka(data=arguments.data, port=arguments.port, heap=arguments.heap, cache=arguments.cache)
        asyncio.run(serve(broker, stop_within=arguments.stop_within))
    except TodokeError as error:
        logger.error("%s", error)  # noqa: TRY400 - the sentence is for its reader; a trace would bury it
        return os.EX_TEMPFAIL if error.retriable else _EXIT_REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
