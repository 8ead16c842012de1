"""Questions to ClickHouse over HTTP, for commands that show or write a few rows."""

import asyncio
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from types import TracebackType
from typing import Any, Self

import aiohttp

from sinks.clickhouse.failures import UNKNOWN_ACCOUNT, account_unknown
from sinks.settings import ClickHouseConnection
from streams.contracts.errors import TodokeError

QUERY_TEXTS = 4000
"""Texts that one query may list. ClickHouse reads no more than 262,144 bytes of one (``max_query_size``)."""


class ClickHouseUnreachableError(TodokeError):
    """The server does not answer."""

    retriable = True


class QueryError(TodokeError):
    """The server does not like the question."""


class Tables:
    """The pipeline's database. As a context manager: holds connections."""

    def __init__(self, connection: ClickHouseConnection) -> None:
        self._connection = connection
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        secure = self._connection.secure
        context = await asyncio.to_thread(_trust, self._connection) if secure else True
        self._session = aiohttp.ClientSession(
            f"{'https' if secure else 'http'}://{self._connection.host}:{self._connection.port}",
            connector=aiohttp.TCPConnector(ssl=context),
            headers={
                "X-ClickHouse-User": self._connection.user,
                "X-ClickHouse-Key": self._connection.password.get_secret_value(),
            },
            timeout=aiohttp.ClientTimeout(
                total=self._connection.answer_timeout, connect=self._connection.connect_timeout
            ),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def rows(self, query: str, **parameters: str) -> list[dict[str, Any]]:
        """Ask, and give the rows.

        Args:
            query: SQL whose ``{name:Type}`` are filled by the parameters.
            parameters: their values.

        Raises:
            ClickHouseUnreachableError: no answer.
            QueryError: the answer is an error.
            ConfigurationError: the name or the password is wrong or missing.
        """
        parameters = {f"param_{name}": value for name, value in parameters.items()}
        return [json.loads(line) for line in (await self._ask(query.encode(), parameters)).splitlines()]

    async def insert(self, table: str, lines: bytes) -> None:
        """Insert rows.

        Args:
            table: of the database.
            lines: the rows as newline-delimited JSON; times have the form of RFC 3339.

        Raises:
            ClickHouseUnreachableError, QueryError: as `rows`.
        """
        settings = {"date_time_input_format": "best_effort", "wait_end_of_query": "1"}
        await self._ask(f"insert into {table} format JSONEachRow\n".encode() + lines, settings)

    async def _ask(self, body: bytes, settings: Mapping[str, str]) -> str:
        if self._session is None:
            raise RuntimeError("use it in an async with block")
        settings = {
            "database": self._connection.database,
            "default_format": "JSONEachRow",
            "output_format_json_quote_64bit_integers": "0",
            **settings,
        }
        where = f"ClickHouse at {self._connection.host}:{self._connection.port}"
        try:
            async with self._session.post("/", data=body, params=settings) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ClickHouseUnreachableError(
                f"{where} does not answer ({error}): check clickhouse.host and clickhouse.port and whether it runs"
            ) from error
        if answer.headers.get("X-ClickHouse-Exception-Code", "") in map(str, UNKNOWN_ACCOUNT):
            raise account_unknown(self._connection, text.strip()[:500])
        if answer.status != 200:  # noqa: PLR2004 - HTTP's own word for ok
            raise QueryError(f"{where} answered {answer.status}: {text.strip()[:500]}")
        return text


def quoted(text: str) -> str:
    """Write a string literal of SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def lists(texts: Iterable[str]) -> Iterator[str]:
    """Write texts of up to some 60 bytes as lists for ``in (…)``, each short enough for one query; none for no text."""
    rest = iter(texts)
    while some := list(islice(rest, QUERY_TEXTS)):
        yield ", ".join(map(quoted, some))


def _trust(connection: ClickHouseConnection) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=connection.ca_cert)
