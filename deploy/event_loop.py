"""The event loop of every role: uvloop's, on which aiokafka bears the end of a connection as it does on asyncio's own.

Who writes to a connection that was reset a moment ago is told by asyncio's own loop later, and by uvloop at once, with
a RuntimeError. aiokafka expects nothing but an OSError there (https://github.com/aio-libs/aiokafka/issues/1038): the
task that wrote ends for good, be it the one that sends a producer's batches, that keeps a consumer in its group, or
that keeps the cluster's metadata fresh, and whoever waits for it waits for ever.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import uvloop
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make a loop for `asyncio.Runner`. From the first one on, aiokafka tells a lost connection as such."""
    if not hasattr(AIOKafkaConnection.send, "__wrapped__"):
        for name in ("send", "_send_sasl_token"):  # all that write
            setattr(AIOKafkaConnection, name, _telling_loss(getattr(AIOKafkaConnection, name)))
    return uvloop.new_event_loop()


def _telling_loss(write: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(write)
    def telling(connection: AIOKafkaConnection, *args: Any, **kwargs: Any) -> Any:
        try:
            return write(connection, *args, **kwargs)
        except (KafkaError, NotImplementedError):  # RuntimeErrors, too, and not of the loop
            raise
        except RuntimeError as error:
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"the connection to {connection.host}:{connection.port} is lost") from error

    return telling
