"""Asking ClickHouse over HTTP, as any program would."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

Row = Mapping[str, Any]

FORM = {
    "default_format": "JSONEachRow",
    "output_format_json_quote_64bit_integers": "0",
    "date_time_output_format": "iso",
}


async def rows(address: str, query: str, *, patience: float = 120.0) -> list[Row]:
    """Give the rows of a query, within so many seconds; times are text, RFC 3339 with milliseconds.

    Raises:
        OSError: ClickHouse does not answer, or refuses; TimeoutError is one of these.
    """
    timeout = aiohttp.ClientTimeout(total=patience)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(address, data=query, params=FORM) as answer,
        ):
            raw = await answer.read()
    except aiohttp.ClientError as error:
        raise OSError(f"ClickHouse does not answer: {error!r}") from error
    if answer.status != 200:
        raise OSError(f"ClickHouse answered {answer.status}: {raw[:500].decode(errors='replace')}")
    return [orjson.loads(line) for line in raw.split(b"\n") if line]
