"""Asking the server as plain HTTP, so that a test sees every header and byte."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import aiohttp
import orjson
from multidict import CIMultiDictProxy


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """All of an answer."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    """As it came over the wire."""

    @property
    def text(self) -> str:
        """The body, where it is text."""
        return self.body.decode()

    @property
    def code(self) -> int:
        """ClickHouse's error code, 0 for none."""
        return int(self.headers.get("X-ClickHouse-Exception-Code", "0"))

    @property
    def summary(self) -> dict[str, int]:
        """The counts."""
        counts: dict[str, str] = orjson.loads(self.headers["X-ClickHouse-Summary"])
        return {name: int(count) for name, count in counts.items()}


async def ask(
    url: str,
    body: str | bytes | None = None,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    **parameters: object,
) -> Answer:
    """Send one request.

    Args:
        url: the server's.
        body: the request's.
        method: HTTP's.
        headers: further ones; no encoding is accepted unless said here.
        parameters: of the URL.
    """
    given = {name: str(value) for name, value in parameters.items()}
    timeout = aiohttp.ClientTimeout(total=60)
    async with (
        aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as session,
        session.request(
            method,
            url,
            params=given,
            data=BytesIO(body) if isinstance(body, bytes) else body,
            headers={"Accept-Encoding": "identity", **(headers or {})},
        ) as response,
    ):
        return Answer(status=response.status, headers=response.headers, body=await response.read())


async def rows(url: str, query: str, **parameters: object) -> list[list[str]]:
    """Ask for a small result, as text."""
    answer = await ask(url, query, method="POST", headers=None, **parameters)
    assert answer.status == 200, answer.text
    return [line.split("\t") for line in answer.text.splitlines()]


async def value(url: str, query: str, **parameters: object) -> str:
    """Ask for one value, as text."""
    ((found,),) = await rows(url, query, **parameters)
    return found
