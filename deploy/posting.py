"""Recorded payloads, posted as their provider would: the same post again until it is taken."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

import aiohttp

from ingest.settings import SourceSettings
from streams.contracts.clock import Clock, Deadline
from streams.contracts.errors import ConfigurationError, TodokeError

PAUSE = 1.0
"""Seconds between two tries where the endpoint names none."""
ANSWER_WITHIN = 60.0
"""Seconds that one answer may take."""
TRY_AGAIN = frozenset({408, 429, 502, 503, 504})


class Form(StrEnum):
    """How a payload is written."""

    JSON = "json"
    """A provider's post as JSON."""
    FORM = "form"
    """A provider's post, URL-encoded."""
    NDJSON = "ndjson"
    """Events in todoke's own form, one a line."""

    @property
    def content_type(self) -> str:
        """Name the media type."""
        return {
            Form.JSON: "application/json",
            Form.FORM: "application/x-www-form-urlencoded",
            Form.NDJSON: "application/x-ndjson",
        }[self]


class RefusedError(TodokeError):
    """The endpoint does not want the payload, and will not later."""


class EndpointUnreachableError(TodokeError):
    """The endpoint did not take the payload in time."""

    retriable = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Payload:
    """One recorded post."""

    name: str
    form: Form
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What the endpoint answered."""

    receipt: str
    accepted: int
    unreadable: int = 0
    """How many of these became dead letters."""


def form_of(name: str, body: bytes) -> Form:
    """Tell the form of a payload by the end of its file's name, or by how it begins.

    Raises:
        ConfigurationError: the end is one of no form that is known.
    """
    ending = name.rpartition(".")[2] if "." in name else ""
    if ending in tuple(Form):
        return Form(ending)
    if ending:
        raise ConfigurationError(f"{name}: a payload's name ends in .json, .form or .ndjson; or say --form FORM")
    return Form.JSON if body.lstrip()[:1] in (b"{", b"[") else Form.FORM


def signed(payload: Payload, source: SourceSettings) -> tuple[bytes, dict[str, str]]:
    """Add the source's first secret, as the provider does: give the body and the headers to send."""
    body, headers = payload.body, {"Content-Type": payload.form.content_type}
    if payload.form is Form.FORM:
        body = body.rstrip(b"\r\n")  # an editor's last newline would become part of the last value
    if source.basic:
        user, _, password = source.basic[0].get_secret_value().partition(":")
        headers["Authorization"] = aiohttp.encode_basic_auth(user, password, "utf-8")
    elif source.bearer_tokens:
        headers["Authorization"] = f"Bearer {source.bearer_tokens[0].get_secret_value()}"
    if source.api_keys and payload.form is not Form.NDJSON:
        body = _with_key(body, payload.form, source.api_keys[0].get_secret_value())
    return body, headers


def say_nothing(trouble: str, pause: float) -> None:
    """Keep quiet about a post that is made again."""


async def post(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    patience: float,
    clock: Clock,
    again: Callable[[str, float], None] = say_nothing,
) -> Receipt:
    """Post until the endpoint takes it.

    Args:
        session: connections.
        url: the endpoint.
        body: to send.
        headers: to send.
        patience: seconds after which it is given up.
        clock: for the patience.
        again: told what went wrong, and after how many seconds it is tried again.

    Raises:
        RefusedError: the answer says that trying again is of no use.
        EndpointUnreachableError: nobody took it in time.
    """
    deadline = Deadline(patience, clock)
    while True:
        pause = PAUSE
        try:
            limit = aiohttp.ClientTimeout(total=ANSWER_WITHIN)
            async with session.post(url, data=body, headers=headers, timeout=limit) as response:
                answer = await response.text()
                if response.status == 200:  # noqa: PLR2004 - HTTP's own word for ok
                    return _receipt(url, answer)
                if response.status not in TRY_AGAIN:
                    raise RefusedError(f"{url} answered {response.status} {response.reason}: {_problem(answer)}")
                told = f"it answered {response.status}: {_problem(answer)}"
                pause = _seconds(response.headers.get("Retry-After"))
        except aiohttp.ClientConnectorError as error:
            address = f"{url.partition('://')[0]}://{error.host}:{error.port}"
            refused = isinstance(error.os_error, ConnectionRefusedError)
            told = f"nothing listens at {address}" if refused else f"{address} cannot be reached: {error.os_error}"
        except (aiohttp.ClientError, TimeoutError) as error:
            told = str(error) or type(error).__name__
        if deadline.remaining() < pause:
            raise EndpointUnreachableError(f"{url} did not take the post within {patience:g} s; {told}")
        again(told, pause)
        await asyncio.sleep(pause)


def _receipt(url: str, answer: str) -> Receipt:
    try:
        content: dict[str, Any] = json.loads(answer)
        unreadable = content.get("unreadable", 0)
        return Receipt(receipt=content["receipt"], accepted=content["accepted"], unreadable=unreadable)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError(f"{url} is no endpoint of todoke: its answer has no receipt") from error


def _problem(answer: str) -> str:
    """Give what an RFC 9457 problem says, or the beginning of whatever came instead."""
    try:
        content = json.loads(answer)
        return str(content.get("detail") or content.get("title") or answer[:200])
    except (ValueError, AttributeError):
        return answer[:200]


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else PAUSE


def _with_key(body: bytes, form: Form, key: str) -> bytes:
    """Put the key into a body, in the place of one that was recorded with it."""
    if form is Form.FORM:
        kept = [field for field in body.split(b"&") if field and not field.startswith(b"api_key=")]
        return b"&".join((urlencode({"api_key": key}).encode(), *kept))
    try:
        content = json.loads(body)
    except ValueError:
        return body  # the endpoint shall say what is wrong with it
    return json.dumps({**content, "api_key": key}).encode() if isinstance(content, dict) else body
