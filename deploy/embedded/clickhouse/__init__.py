"""ClickHouse on one machine with nothing installed but Python: its engine (chDB) behind its own HTTP protocol."""

from deploy.embedded.clickhouse.errors import (
    ClickHouseError,
    EmbeddedClickHouseError,
    FolderInUseError,
    FolderVersionError,
    PortInUseError,
    ServerFailedError,
)
from deploy.embedded.clickhouse.process import EmbeddedClickHouse
from deploy.embedded.clickhouse.settings import ClickHouseServerSettings

__all__ = [
    "ClickHouseError",
    "ClickHouseServerSettings",
    "EmbeddedClickHouse",
    "EmbeddedClickHouseError",
    "FolderInUseError",
    "FolderVersionError",
    "PortInUseError",
    "ServerFailedError",
]
