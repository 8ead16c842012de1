"""What can be set about a worker."""

from pydantic import BaseModel, ConfigDict, Field

from streams.contracts.compression import Compression


class WorkerSettings(BaseModel):
    """One worker. Workers of one group share the partitions among them; any number may run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str | None = Field(default=None, min_length=1, description="default: named after the inbox")
    """Consumer group; ``None`` names it after the inbox. It says who works on which partition; what was done is read
    from the outbox alone."""

    instance: str | None = Field(default=None, min_length=1, description="name of this worker within the group")
    """A name that this worker keeps over restarts, and no other one has: it then gets its partitions back at once,
    where a nameless one that died is waited for until ``session_timeout``."""

    horizon_days: int = Field(default=7, ge=1, le=365, description="days that a resend is still recognised, 1 to 365")
    """Days of state. The outbox must be kept at least a day longer."""

    in_flight: int = Field(default=4, ge=1, le=64, description="unacknowledged outbox records per partition, 1 to 64")
    """Outbox records of one partition that wait for Kafka's acknowledgement at the same time."""

    buffer: int = Field(default=16, ge=1, le=1000, description="inbox records read ahead, 1 to 1000")
    """Inbox records that stand before the correlation, each of up to 900 KB."""

    dead_letter_run: int = Field(default=10, ge=0, description="records in a row, 0 or more")
    """Inbox records in a row that may go to the dead letters as a whole because the worker cannot work with them. The
    next one stops it: then it is the worker that is wrong, and another version of it goes on there."""

    dead_letter_ratio: float = Field(default=0.05, ge=0, le=1, description="0 to 1")
    """Share of the events of a partition's last 1000 inbox records that may go there for this reason."""

    rebuild: bool | None = Field(default=None, description="true or false; default: where [clickhouse] is configured")
    """Whether a worker that finds the outbox of a partition empty restores from ClickHouse what it had said, so that
    resends are still recognised. It waits for ClickHouse then."""

    compression: Compression = Field(default=Compression.ZSTD, description="compression of the outbox")
    """Whether outbox records are compressed."""

    session_timeout: float = Field(default=15.0, ge=6, le=300, description="seconds, 6 to 300")
    """Seconds after which a worker that is not heard of loses its partitions to others."""

    request_timeout: float = Field(default=30.0, ge=1, le=600, description="seconds, 1 to 600")
    """Seconds after which a request to Kafka that was not answered is made again."""

    metadata_interval: float = Field(default=30.0, ge=0.5, le=600, description="seconds, 0.5 to 600")
    """Seconds after which a change of the inbox topic (made anew, more partitions) is noticed at the latest."""

    nudge: float = Field(default=3.0, ge=0.1, le=60, description="seconds, 0.1 to 60")
    """Seconds that a partition may stand still, with something to do, before reading it is set right again."""

    watchdog: float = Field(default=60.0, ge=1, le=3600, description="seconds, 1 to 3600")
    """Seconds that a partition may stand still, with something to do, before the worker ends, to be started again."""

    commit_interval: float = Field(default=2.0, ge=0.1, le=60, description="seconds, 0.1 to 60")
    """Seconds between two commits of the group's offsets, which nothing but monitoring reads."""

    def group_name(self, inbox: str) -> str:
        """Name the consumer group of the workers of an inbox, by the topic's whole name."""
        return self.group or f"{inbox}.worker"
