"""Looking into ClickHouse's tables, as a user does."""

import json
from types import TracebackType
from typing import Any, Self

from clickhouse_connect.driver import AsyncClient

from sinks.clickhouse.connection import connect
from sinks.settings import ClickHouseConnection

RFC3339 = {"date_time_output_format": "iso"}


class Tables:
    """One database, asked by a client of its own."""

    def __init__(self, connection: ClickHouseConnection) -> None:
        self.connection = connection
        self._client: AsyncClient | None = None

    async def __aenter__(self) -> Self:
        self._client = await connect(self.connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.close()

    @property
    def client(self) -> AsyncClient:
        assert self._client is not None
        return self._client

    async def number(self, query: str) -> int:
        """Ask for one number."""
        return int((await self.client.query(query)).result_rows[0][0])

    async def rows(self, query: str, **settings: Any) -> list[dict[str, Any]]:
        """Ask for rows as JSON objects."""
        answer = await self.client.raw_query(query, fmt="JSONEachRow", settings=settings)
        return [json.loads(line) for line in answer.splitlines()]

    async def text(self, query: str) -> str:
        """Ask for an answer as text."""
        return (await self.client.raw_query(query, fmt="TabSeparatedRaw")).decode()

    async def do(self, statement: str) -> None:
        """Run a statement."""
        await self.client.command(statement)
