"""What can be set about taking posts in: the HTTP server, its limits, and the sources that may post."""

import ipaddress
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from streams.contracts.compression import Compression
from streams.contracts.errors import ConfigurationError
from streams.contracts.topics import CHUNK_LIMIT

SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""What a source may be called: it stands in URLs, keys and metrics."""

MIB = 1024 * 1024


class ProviderName(StrEnum):
    """Whose posts a source sends."""

    CUSTOMERS_MAIL_CLOUD = "customers-mail-cloud"
    GENERIC = "generic"


class Malformed(StrEnum):
    """What becomes of a body that cannot be read."""

    QUARANTINE = "quarantine"
    """Kept raw as a dead letter and answered 200, since most providers discard for good what is refused."""

    REJECT = "reject"
    """Answered 400 and not kept: for senders that read the answer."""


class Durability(StrEnum):
    """What a post waits for before it is answered 200."""

    KAFKA = "kafka"
    """Until Kafka has acknowledged everything."""

    JOURNAL = "journal"
    """Until it is on this machine's disk, in the journal; from there it goes into Kafka whatever happens."""


class Batching(BaseModel):
    """When a chunk closes.

    With ``durability = "kafka"`` senders wait for it: so a chunk closes at once while none of its shard is under way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_events: int = Field(default=5000, ge=1, le=100_000, description="events in one chunk, 1 to 100000")
    """Events that one chunk holds at most."""
    interval: float = Field(default=0.5, ge=0, le=600, description="seconds, 0 to 600")
    """Seconds that an event waits for others at most. Where senders wait for Kafka, it must be less than
    ``answer_within``."""
    max_bytes: int = Field(
        default=CHUNK_LIMIT, ge=10_000, le=CHUNK_LIMIT, description=f"bytes in one chunk, 10000 to {CHUNK_LIMIT}"
    )
    """Bytes that one chunk holds at most. A dead letter of a large body needs its own room and may exceed it."""


class SourceSettings(BaseModel):
    """One account of one provider. A post that shows any one of the secrets is let in; none configured lets all in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: ProviderName = ProviderName.CUSTOMERS_MAIL_CLOUD
    """Whose form the posts have."""
    basic: tuple[SecretStr, ...] = Field(default=(), description='list of "user:password"')
    """Credentials for BASIC authentication, each ``user:password``; several for a time of change-over."""
    api_keys: tuple[SecretStr, ...] = Field(default=(), description="list of keys")
    """Keys that the provider sends in the body as ``api_key``."""
    bearer_tokens: tuple[SecretStr, ...] = Field(default=(), description="list of tokens")
    """Tokens for ``Authorization: Bearer``."""
    time_zone: str = Field(default="Asia/Tokyo", description="name of the IANA time zone database")
    """The zone that is chosen for the webhook in the provider's console: its times carry none."""
    max_body_bytes: int = Field(default=32 * MIB, ge=1024, le=1024 * MIB, description="bytes, 1024 to 1 GiB")
    """Bytes that a post may have, decompressed."""
    max_body_events: int = Field(default=100_000, ge=1, le=1_000_000, description="events, 1 to 1000000")
    """Events that a post may have. One takes over 1 kB while the post is read, however small it is."""
    malformed: Malformed = Field(default=Malformed.QUARANTINE, description="quarantine or reject")
    """What becomes of a body that cannot be read."""
    durability: Durability = Field(default=Durability.KAFKA, description="kafka or journal")
    """What a post waits for before it is answered."""
    batching: Batching = Field(default_factory=Batching)

    @field_validator("basic")
    @classmethod
    def _name_users(cls, basic: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(":" not in credentials.get_secret_value() for credentials in basic):
            raise ValueError('each must be "user:password"')
        return basic

    @field_validator("api_keys", "bearer_tokens")
    @classmethod
    def _leave_no_gap(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(secret.get_secret_value() for secret in secrets):
            raise ValueError("an empty secret would let everybody in: remove it")
        return secrets

    @field_validator("time_zone")
    @classmethod
    def _know_zone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError("there is no such time zone: use a name like Asia/Tokyo, Europe/Berlin or UTC")
        return name

    @property
    def is_open(self) -> bool:
        """Tell whether anybody may post."""
        return not (self.basic or self.api_keys or self.bearer_tokens)

    @property
    def takes_events(self) -> bool:
        """Tell whether events in todoke's own form can be posted: they show a secret in the header or none."""
        return self.is_open or bool(self.basic or self.bearer_tokens)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone itself."""
        return ZoneInfo(self.time_zone)


class IngestSettings(BaseModel):
    """The HTTP server that takes posts, and what it may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535, description="0 picks a free port")
    answer_within: float = Field(default=20.0, gt=0, le=600, description="seconds")
    """Seconds until a post that is not durable yet is answered 503. Must be less than the sender's time-out."""
    retry_after: int = Field(default=5, ge=1, le=3600, description="seconds, 1 to 3600")
    """Seconds that a refused sender is asked to wait."""
    max_bytes_in_flight: int = Field(default=128 * MIB, ge=MIB, description="bytes, at least 1 MiB")
    """Bytes of posts that are not durable yet: of their bodies until these are read, of their events as they are stored
    from then on. Beyond it posts are answered 503."""
    journal: Path | None = None
    """Folder of the journal, for sources with ``durability = "journal"``; on a disk that outlives the process, and not
    shared with another process."""
    journal_max_bytes: int = Field(default=1024 * MIB, ge=MIB, description="bytes, at least 1 MiB")
    """Bytes of posts that the journal may hold; beyond it posts are answered 503. Its file may be twice as
    large."""
    max_chunks_in_flight: int = Field(default=2, ge=1, le=64, description="chunks, 1 to 64")
    """Chunks of one shard that may be under way to Kafka at a time."""
    max_connections: int = Field(default=1000, ge=1, le=100_000, description="connections, 1 to 100000")
    """Connections that may be open; one more is answered 503. Each takes up to 0.2 MB while a body arrives."""
    max_connections_waiting: int = Field(default=1024, ge=1, le=65535, description="connections, 1 to 65535")
    """Connections that the system holds until they are accepted."""
    keep_alive: float = Field(default=75.0, ge=0, le=3600, description="seconds")
    """Seconds that an idle connection is kept open."""
    tell_answered_every: float = Field(default=1.0, gt=0, le=60, description="seconds")
    """Seconds between two notes in the log about which posts were answered."""
    probe_every: float = Field(default=2.0, gt=0, le=60, description="seconds")
    """Seconds between two looks whether Kafka answers, for readiness."""
    kafka_timeout: float = Field(default=10.0, gt=0, le=300, description="seconds")
    """Seconds after which an unanswered request to Kafka is given up and made again."""
    compression: Compression = Field(default=Compression.ZSTD, description="compression of the inbox")
    """Whether records on the inbox are compressed. The events of a chunk have much in common: a tenth of the bytes is
    left to be sent, written and read, which saves more processor time than it takes."""
    access_log: bool = False
    """Log each request: method, path, status, bytes, seconds."""

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def default_sources() -> dict[str, SourceSettings]:
    """Give the sources of a pipeline that nobody configured: Customers Mail Cloud, open."""
    return {"cmc": SourceSettings()}


def check(settings: IngestSettings, sources: Mapping[str, SourceSettings]) -> None:
    """Check what no single setting can tell.

    Raises:
        ConfigurationError: names the key, the value and what to do.
    """
    if not sources:
        raise ConfigurationError("there is no source: add a table [sources.NAME] to the configuration")
    for name, source in sources.items():
        if not SOURCE_NAME.fullmatch(name):
            raise ConfigurationError(
                f"sources.{name}: a source's name is 1 to 63 of a-z, 0-9, '-', '_', and begins with a letter or digit"
            )
        if source.is_open and not settings.is_loopback:
            raise ConfigurationError(
                f"sources.{name} has no secret and ingest.host = {settings.host!r} is reachable from other machines: "
                f"give it basic, api_keys or bearer_tokens, or listen on 127.0.0.1"
            )
        if source.provider is ProviderName.GENERIC and not source.takes_events:
            raise ConfigurationError(
                f"sources.{name} has api_keys alone, which events in todoke's own form (its provider is generic) cannot"
                " show: give it bearer_tokens or basic"
            )
        if source.durability is Durability.JOURNAL and settings.journal is None:
            raise ConfigurationError(
                f'sources.{name}.durability = "journal" needs a folder for the journal: set ingest.journal, for '
                f"example to /var/lib/todoke/journal"
            )
        if source.durability is Durability.KAFKA and source.batching.interval >= settings.answer_within:
            raise ConfigurationError(
                f"sources.{name}.batching.interval = {source.batching.interval:g} must be less than "
                f"ingest.answer_within = {settings.answer_within:g}, or posts would be refused while they wait; with "
                f'durability = "journal" nobody waits'
            )
        if source.max_body_bytes > settings.max_bytes_in_flight:
            raise ConfigurationError(
                f"sources.{name}.max_body_bytes = {source.max_body_bytes} is more than "
                f"ingest.max_bytes_in_flight = {settings.max_bytes_in_flight}: such a post could never be taken"
            )
