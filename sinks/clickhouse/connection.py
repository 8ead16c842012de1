"""Connecting to ClickHouse."""

from clickhouse_connect.driver import AsyncClient, create_async_client

from sinks.clickhouse.failures import translated
from sinks.settings import ClickHouseConnection


async def connect(connection: ClickHouseConnection, *, database: str | None = None) -> AsyncClient:
    """Connect to the server; the database need not exist.

    Args:
        connection: where to, and as whom.
        database: another one than the connection's.

    Raises:
        TodokeError: as `sinks.clickhouse.failures.translate` says.
    """
    with translated(connection):
        return await create_async_client(
            host=connection.host,
            port=connection.port,
            username=connection.user,
            password=connection.password.get_secret_value(),
            database=database or connection.database,
            secure=connection.secure,
            ca_cert=str(connection.ca_cert) if connection.ca_cert else None,
            connect_timeout=connection.connect_timeout,
            send_receive_timeout=connection.answer_timeout,
            query_retries=0,
            compress=False,
        )
