"""The inbox record as the worker gets it: bytes, and where and when they stood in the log."""

from dataclasses import dataclass
from datetime import UTC, datetime

from streams.contracts.clock import rfc3339
from streams.contracts.codec import Record, decode
from streams.contracts.topics import CHUNK_LIMIT


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxRecord:
    """One record of the inbox, not looked into yet."""

    topic: str
    shard: int
    """The partition."""

    offset: int
    at: str
    """When it entered the log: Kafka's timestamp, in the form of `streams.contracts.clock.rfc3339`.

    This is the time that the worker lives by. It is the same for everybody who reads the record, and it is the
    broker's, so that a machine of ingest whose clock is wrong cannot make the worker forget everything.
    """

    value: bytes

    def chunk(self) -> Record:
        """Take it apart.

        Raises:
            LaterFormError: a later version of todoke wrote it.
            FormError: it is no chunk.
        """
        return decode(self.value, CHUNK_LIMIT)


def entered_at(seconds: float) -> str:
    """Write Kafka's timestamp of a record, in seconds since 1970, as `InboxRecord.at`."""
    return rfc3339(datetime.fromtimestamp(seconds, UTC))
