"""The one agent: hands every record of the inbox to its shard, raw."""

from collections.abc import Callable

import faust
from faust.types import StreamT

from streams.inbox import InboxRecord, entered_at
from streams.shards import Shards


def create_agent(app: faust.App, inbox: str, shards: Shards, failed: Callable[[Exception], None]) -> None:
    """Have an agent read the inbox.

    One at a time, since the order of a shard's records is what everything rests on. The topic has no acknowledgements:
    Faust would acknowledge what an agent raised on and what it dropped in a rebalance. For the same reasons the agent
    takes raw bytes and does not raise: an error that nobody foresaw ends the worker.
    """
    topic = app.topic(inbox, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw", acks=False)

    @app.agent(topic, name="correlate", concurrency=1)
    async def correlate(stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            message = event.message
            try:
                await shards.take(
                    InboxRecord(
                        topic=message.topic,
                        shard=message.partition,
                        offset=message.offset,
                        at=entered_at(message.timestamp),
                        value=message.value or b"",
                    )
                )
            except Exception as error:  # noqa: BLE001 - see above
                failed(error)
