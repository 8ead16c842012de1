"""What can be set about the sinks."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

MIB = 1024 * 1024


class Section(BaseModel):
    """A section of the configuration: known keys only, and read once."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClickHouseConnection(Section):
    """How ClickHouse is reached: its HTTP interface."""

    host: str = "127.0.0.1"
    """Name or address of the server."""
    port: int = Field(default=8123, ge=1, le=65535, description="of the HTTP interface")
    """Port of the HTTP interface."""
    user: str = "default"
    password: SecretStr = SecretStr("")
    database: str = Field(default="mail", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$", description="a plain name")
    """Where the tables are; made by ``todoke migrate``."""
    secure: bool = False
    """Speak HTTPS."""
    ca_cert: Path | None = None
    """Certificates to trust instead of the system's, PEM."""
    connect_timeout: float = Field(default=10.0, gt=0, le=600, description="seconds")
    """Seconds until a connection must stand."""
    answer_timeout: float = Field(default=120.0, gt=0, le=3600, description="seconds")
    """Seconds until a statement must be answered."""


class ReadingSettings(Section):
    """How a sink reads the outbox."""

    group: str | None = Field(default=None, max_length=200, description="default: named after the outbox and the sink")
    """Consumer group; ``None`` names it after the outbox and the sink. Two sinks of one group share the partitions."""
    instance: str | None = Field(default=None, max_length=200, description="unique in the group")
    """A name that this process keeps over restarts: it then gets its partitions back at once (static membership)."""
    session_timeout: float = Field(default=10.0, ge=1, le=1800, description="seconds")
    """Seconds without a sign of life after which a sink's partitions go to another one."""
    block_bytes: int = Field(default=32 * MIB, ge=1, le=256 * MIB, description="bytes of outbox records")
    """Bytes of outbox records that one block of a partition holds; one record may be larger."""
    block_events: int = Field(default=40_000, ge=1, le=1_000_000, description="events")
    """Events that one block of a partition holds; one record may hold more."""
    waiting_bytes: int = Field(default=64 * MIB, ge=1, le=4096 * MIB, description="bytes of outbox records")
    """Bytes of outbox records that are read ahead while blocks are being delivered."""
    fetch_bytes: int = Field(default=4 * MIB, ge=1024, le=256 * MIB, description="bytes per partition")
    """Bytes that one request to Kafka asks of a partition; a larger record comes all the same."""
    retry_pause: float = Field(default=0.2, gt=0, le=60, description="seconds")
    """Seconds until something that failed is tried again, the first time; doubles each time."""
    retry_pause_limit: float = Field(default=15.0, gt=0, le=600, description="seconds")
    """Seconds that this pause may grow to."""
    handover: float = Field(default=5.0, gt=0, le=600, description="seconds")
    """Seconds that a block under way has to be finished when its partition goes to another sink."""
    watchdog: float = Field(default=120.0, ge=1, le=3600, description="seconds, 1 to 3600")
    """Seconds that a sink may stand still, with something to do and Kafka answering, before it ends, to be started
    again. Waiting for ClickHouse is not standing still."""
    dead_letter_run: int = Field(default=50, ge=0, description="rows one after the other; 0 puts nothing aside")
    """Rows that may be refused one after the other and go to the dead letters; at the next one the sink stops."""
    dead_letter_ratio: float = Field(default=0.1, ge=0, le=1, description="share of the latest rows of a partition")
    """Share of the latest ten thousand rows of a partition (or of a thousand, where there were fewer) that may be
    refused; beyond it the sink stops."""

    def group_name(self, outbox: str, sink: str) -> str:
        """Name the consumer group.

        Args:
            outbox: the topic's whole name.
            sink: which sink: ``clickhouse``, ``topics``.
        """
        return self.group or f"{outbox}.{sink}"


class ClickHouseSinkSettings(ReadingSettings):
    """The sink that fills ClickHouse."""

    interval: float = Field(default=2.0, ge=0, le=60, description="seconds")
    """Seconds between the beginnings of two rounds of inserts while records keep coming: more make larger parts and
    less work for ClickHouse. What is there when nothing more comes is inserted at once."""
    concurrency: int = Field(default=2, ge=1, le=64, description="inserts")
    """Partitions that are inserted at a time."""
    compression: Literal["none", "lz4", "zstd"] = "zstd"
    """How rows are compressed on their way. Pays even on one machine: to send all of them costs more time."""


class TopicsSinkSettings(ReadingSettings):
    """The sink that writes the public topics."""

    interval: float = Field(default=0.3, ge=0, le=60, description="seconds")
    """Seconds between the beginnings of two transactions while records keep coming: more make them cheaper. What is
    there when nothing more comes is published at once."""
    block_events: int = Field(default=10_000, ge=1, le=1_000_000, description="events")
    """Events that one transaction of a partition holds; one outbox record may hold more."""
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    """How the public topics' records are compressed."""
    transaction_timeout: float = Field(default=60.0, ge=1, le=900, description="seconds")
    """Seconds after which Kafka takes back the transaction of a sink that died and was not replaced."""
