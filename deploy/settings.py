"""All settings of a pipeline in one frozen object, a section for each part.

The roles bring their own models; this composes them and adds what belongs to running them.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ingest.settings import IngestSettings, SourceSettings, default_sources
from sinks.settings import ClickHouseConnection, ClickHouseSinkSettings, TopicsSinkSettings
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import Topics, topics
from streams.settings import WorkerSettings

SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    """A section of the configuration: known keys only, and read once."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _usable(connection: KafkaConnection) -> KafkaConnection:
    if connection.security_protocol not in SECURITY_PROTOCOLS:
        raise ValueError(f"security_protocol must be one of {', '.join(SECURITY_PROTOCOLS)}")
    if connection.sasl_mechanism not in SASL_MECHANISMS:
        raise ValueError(f"sasl_mechanism must be one of {', '.join(SASL_MECHANISMS)}")
    if connection.security_protocol.startswith("SASL") and not (connection.sasl_username and connection.sasl_password):
        raise ValueError(f"{connection.security_protocol} needs sasl_username and sasl_password")
    return connection


class TopicsSettings(Section):
    """How the pipeline's topics are named and made."""

    prefix: str = Field(default="mail.", pattern=r"^[A-Za-z0-9._-]*$", max_length=200)
    """What every name starts with."""
    shards: int = Field(default=2, ge=1, le=1024, description="partitions of every topic; fixed once they exist")
    """Partitions of the inbox and everything behind it, and as many workers can share the work. Fixed once the topics
    exist. The fewer, the larger the chunks: two cores took 24,600 events/s with four shards, 28,100 with two."""
    horizon_days: int = Field(default=7, ge=1, le=365, description="days that a resend is recognised within")
    """How long a resend is recognised, and with it how long the internal topics are kept."""
    replication_factor: int = Field(default=-1, ge=-1, le=32, description="-1 is the broker's own default")
    """Copies of each partition; -1 leaves it to the broker."""

    def topics(self) -> Topics:
        """Describe the topics."""
        return topics(self.prefix, horizon_days=self.horizon_days)


class SinkSettings(Section):
    """The roles that write results."""

    clickhouse: ClickHouseSinkSettings = Field(default_factory=ClickHouseSinkSettings)
    topics: TopicsSinkSettings = Field(default_factory=TopicsSinkSettings)


class AdminSettings(Section):
    """Where worker and sinks serve ``/metrics``, ``/healthz`` and ``/readyz``."""

    host: str = "127.0.0.1"
    port: Port = Field(default=9100, description="0 picks a free port")


class LogSettings(Section):
    """What a process writes of its doings to standard error."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class StopSettings(Section):
    """How a process ends when it is told to."""

    deadline: float = Field(default=25.0, gt=0, le=3600, description="seconds")
    """Seconds that a role has for bringing its work to an end."""


class LocalSettings(Section):
    """The pipeline on one machine, as ``todoke up`` runs it."""

    data: Path = Path("data")
    """Everything that must outlive a restart, and the logs."""
    kafka_port: Port = Field(default=9092, description="0 picks a free port")
    clickhouse_port: Port = Field(default=8123, description="0 picks a free port")
    kafka_heap: str = Field(default="256m", pattern=r"^\d+[mg]$", description="a number with m or g, like 256m")
    """Limit of Kafka's Java heap; its threads and buffers come on top."""
    clickhouse_memory: int = Field(default=0, ge=0, description="bytes; 0 is most of the machine's")
    """Limit of ClickHouse's memory."""
    stop_deadline: float = Field(default=60.0, gt=0, le=3600, description="seconds")
    """Seconds that the whole pipeline has for stopping; what is still there then is killed."""
    start_deadline: float = Field(default=120.0, gt=0, le=3600, description="seconds")
    """Seconds that a process has from its start until it is ready, and Kafka for each step of it. One that is started
    again is killed after them only if it gave no sign of life either: it may wait for another one."""
    restart_pause: float = Field(default=0.5, gt=0, le=60, description="seconds")
    """Seconds until a process that died is started again, the first time; doubles each time."""
    restart_pause_limit: float = Field(default=30.0, gt=0, le=3600, description="seconds")
    """Seconds that this pause may grow to."""
    silence: float = Field(default=60.0, gt=0, le=3600, description="seconds")
    """Seconds without a sign of life after which a process counts as hung and is killed, to be started again."""
    healthy_after: float = Field(default=60.0, gt=0, le=3600, description="seconds")
    """Seconds of life after which the pause before the next start is short again."""
    give_up_after: int = Field(default=15, ge=0, description="0 is never")
    """Deaths of one process within ``give_up_within`` after which the whole pipeline stops, with exit code 4. Those for
    want of another service do not count."""
    give_up_within: float = Field(default=300.0, gt=0, le=86_400, description="seconds")
    """Seconds."""
    workers: int = Field(default=1, ge=1, le=64, description="processes, at most one for each shard")
    """Workers that share the shards."""
    sinks: int = Field(default=1, ge=1, le=64, description="processes of each kind, at most one for each shard")
    """Sinks of each kind that share the shards."""
    audit_every: float = Field(default=60.0, ge=0, le=86_400, description="seconds; 0 is never")
    """Seconds between two audits of the last day, whose results are metrics and the readiness of the part ``audit``."""
    log_limit: int = Field(default=10_000_000, ge=10_000, description="bytes")
    """Bytes of one log file in the data folder until a new one is begun; three old ones are kept."""


class Settings(Section):
    """Everything that can be set."""

    kafka: Annotated[KafkaConnection, AfterValidator(_usable)] = Field(default_factory=KafkaConnection)
    topics: TopicsSettings = Field(default_factory=TopicsSettings)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    sources: dict[str, SourceSettings] = Field(default_factory=default_sources)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    sink: SinkSettings = Field(default_factory=SinkSettings)
    clickhouse: ClickHouseConnection = Field(default_factory=ClickHouseConnection)
    admin: AdminSettings = Field(default_factory=AdminSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    stop: StopSettings = Field(default_factory=StopSettings)
    local: LocalSettings = Field(default_factory=LocalSettings)

    def worker_group(self) -> str:
        """Name the consumer group of the workers."""
        return self.worker.group_name(self.topics.topics().inbox.name)

    def sink_groups(self) -> dict[str, str]:
        """Name the consumer groups of the sinks, by the roles' names."""
        outbox = self.topics.topics().outbox.name
        return {
            "sink-clickhouse": self.sink.clickhouse.group_name(outbox, "clickhouse"),
            "sink-topics": self.sink.topics.group_name(outbox, "topics"),
        }

    @model_validator(mode="before")
    @classmethod
    def _one_horizon(cls, given: Any) -> Any:
        """Let the worker recognise resends for as long as the topics are kept, unless it is told otherwise."""
        match given:
            case {"topics": {"horizon_days": days}}:
                return {**given, "worker": {"horizon_days": days, **given.get("worker", {})}}
            case _:
                return given

    @model_validator(mode="after")
    def _state_is_kept(self) -> Self:
        if self.worker.horizon_days > self.topics.horizon_days:
            raise ValueError(
                f"worker.horizon_days = {self.worker.horizon_days} is more than topics.horizon_days = "
                f"{self.topics.horizon_days}: the worker's state would be deleted before it is old enough"
            )
        return self
