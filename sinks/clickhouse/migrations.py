"""The schema of the database: numbered SQL files, applied in order and remembered with their checksums.

Every statement may be run again (``if not exists``), so that a migration that was interrupted is simply repeated.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from clickhouse_connect.driver import AsyncClient

from sinks.clickhouse.connection import connect
from sinks.clickhouse.failures import translated
from sinks.errors import SchemaError
from sinks.settings import ClickHouseConnection

STATEMENT_END = re.compile(r";[ \t]*(?:\n|$)")
REGISTER = """
create table if not exists schema_migrations
(
    name String,
    checksum String,
    applied_at DateTime64(3, 'UTC') default now64(3)
)
engine = ReplacingMergeTree(applied_at)
order by name
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """One numbered SQL file."""

    name: str
    """The file's name without its suffix, e.g. ``0001_events``."""
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> Sequence[str]:
        """The statements of the file; each ends with a semicolon at the end of a line."""
        return [statement.strip() for statement in STATEMENT_END.split(self.sql) if statement.strip()]


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaState:
    """What a database has of the schema."""

    applied: Sequence[str]
    missing: Sequence[str]
    """To be applied, in order."""
    altered: Sequence[str]
    """Applied with another text than this version has."""
    unknown: Sequence[str]
    """Applied by a later version."""

    @property
    def is_current(self) -> bool:
        """Tell whether this version can work with the database."""
        return not self.missing and not self.altered and not self.unknown

    def require(self, database: str) -> None:
        """Raise `SchemaError` unless the schema is current."""
        if self.altered:
            raise SchemaError(
                f"the database {database} was made by another edition of {', '.join(self.altered)}: use the version of"
                " todoke that made it, or another database (clickhouse.database)"
            )
        if self.unknown:
            raise SchemaError(
                f"the database {database} was migrated by a later version of todoke ({', '.join(self.unknown)}):"
                " install that version here, too; what arrives meanwhile waits in Kafka"
            )
        if self.missing:
            raise SchemaError(
                f"the database {database} lacks {', '.join(self.missing)} of the schema: run `todoke migrate`"
            )


def migrations() -> Sequence[Migration]:
    """List the migrations of this version, in order."""
    files = (resources.files("sinks.clickhouse") / "schema").iterdir()
    return sorted(
        (
            Migration(name=file.name.removesuffix(".sql"), sql=file.read_text(encoding="utf-8"))
            for file in files
            if file.name.endswith(".sql")
        ),
        key=lambda migration: migration.name,
    )


async def check(connection: ClickHouseConnection) -> SchemaState:
    """Tell what the database has of the schema. Nothing is changed.

    Raises:
        TodokeError: ClickHouse does not answer, or does not let us.
    """
    client = await connect(connection, database="default")
    try:
        return await _state(client, connection)
    finally:
        await client.close()


async def migrate(connection: ClickHouseConnection) -> Sequence[str]:
    """Make the database and apply what is missing; tell the names of what was applied.

    Raises:
        SchemaError: a migration was applied with another text, or by a later version.
        TodokeError: ClickHouse does not answer, or does not let us.
    """
    client = await connect(connection, database="default")
    try:
        with translated(connection):
            await client.command(f"create database if not exists `{connection.database}`")
        state = await _state(client, connection)
    finally:
        await client.close()
    if state.altered or state.unknown:
        state.require(connection.database)
    client = await connect(connection)
    try:
        with translated(connection):
            await client.command(REGISTER)
            for migration in migrations():
                if migration.name in state.missing:
                    await _apply(client, migration)
    finally:
        await client.close()
    return state.missing


async def _apply(client: AsyncClient, migration: Migration) -> None:
    for statement in migration.statements:
        await client.command(statement)
    await client.command(
        "insert into schema_migrations (name, checksum) values ({name:String}, {checksum:String})",
        parameters={"name": migration.name, "checksum": migration.checksum},
    )


async def _state(client: AsyncClient, connection: ClickHouseConnection) -> SchemaState:
    applied = await _applied(client, connection)
    known = {migration.name: migration.checksum for migration in migrations()}
    return SchemaState(
        applied=sorted(applied),
        missing=[name for name in known if name not in applied],
        altered=[name for name, checksum in known.items() if applied.get(name, checksum) != checksum],
        unknown=sorted(applied.keys() - known.keys()),
    )


async def _applied(client: AsyncClient, connection: ClickHouseConnection) -> dict[str, str]:
    with translated(connection):
        exists = await client.query(
            "select count() from system.tables where database = {database:String} and name = 'schema_migrations'",
            parameters={"database": connection.database},
        )
        if not exists.result_rows[0][0]:
            return {}
        rows = await client.query(f"select name, checksum from `{connection.database}`.schema_migrations final")  # noqa: S608 - the settings allow plain names only
        return {str(name): str(checksum) for name, checksum in rows.result_rows}
