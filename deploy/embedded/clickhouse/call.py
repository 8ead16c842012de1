"""One request of ClickHouse's HTTP interface, read: https://clickhouse.com/docs/interfaces/http."""

import base64
import binascii
import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from deploy.embedded.clickhouse.encodings import choose
from deploy.embedded.clickhouse.errors import ClickHouseError

_RESERVED = frozenset(
    {
        "", "query", "database", "default_format", "compress", "decompress", "user", "password", "quota_key", "role",
        "query_id", "stacktrace", "buffer_size", "wait_end_of_query", "session_id", "session_timeout", "session_check",
        "client_protocol_version", "close_session",
    }
)  # fmt: skip
"""Parameters that are the protocol's own; all others are settings."""

_SESSION_TIMEOUT, _SESSION_TIMEOUT_LIMIT = 60, 3600  # seconds, ClickHouse's defaults
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Who asks; empty where nothing was said."""

    user: str
    password: str
    scheme: str
    """``basic``, ``headers``, ``parameters`` or ``none``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What a request asks for."""

    query: bytes
    """The statement's beginning, from the URL; the body goes on behind it."""

    database: str
    default_format: str
    query_id: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    """Values for ``{name:Type}`` in the statement, in the escaped form of TabSeparated."""

    read_only: bool
    """The request came by GET."""

    session_id: str | None
    session_timeout: int
    """Seconds that an idle session is kept."""

    session_check: bool
    """The session must be there already."""

    close_session: bool
    framed_answer: bool
    """``compress=1``: ClickHouse's own framing."""

    framed_body: bool
    check_frames: bool
    content_encoding: str
    """The body's."""

    answer_encoding: str | None
    """The one that client and server both know; None: none."""

    zlib_level: int
    wait_end: bool
    """The answer begins when its end is known."""

    buffer_size: int
    """Bytes of the result that are gathered before the answer's head is sent; 0: the server's own."""


def read_credentials(headers: Mapping[str, str], parameters: Mapping[str, str]) -> Credentials:
    """Read who asks; one way of saying it is allowed at a time.

    Raises:
        ClickHouseError: two ways at once, or one that makes no sense.
    """
    authorization = headers.get("Authorization", "")
    by_headers = "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers
    by_parameters = "user" in parameters or "password" in parameters
    if bool(authorization) + by_headers + by_parameters > 1:
        raise ClickHouseError(
            516,
            "AUTHENTICATION_FAILED",
            "Invalid authentication: it is not allowed to use two ways of it simultaneously",
        )
    if authorization:
        return _basic(authorization)
    if by_headers:
        user, password = headers.get("X-ClickHouse-User", ""), headers.get("X-ClickHouse-Key", "")
        return Credentials(user=user or "default", password=password, scheme="headers")
    if by_parameters:
        user, password = parameters.get("user", ""), parameters.get("password", "")
        return Credentials(user=user or "default", password=password, scheme="parameters")
    return Credentials(user="default", password="", scheme="none")


def _basic(authorization: str) -> Credentials:
    """Read the header of RFC 7617."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        decoded = ""
    user, colon, password = decoded.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise ClickHouseError(
            516, "AUTHENTICATION_FAILED", "Invalid authentication: only 'Basic' with name and password is supported"
        )
    return Credentials(user=user or "default", password=password, scheme="basic")


def read_call(
    method: str, headers: Mapping[str, str], given: Mapping[str, str], *, described: Collection[str] = ()
) -> Call:
    """Read a request.

    Args:
        method: HTTP's.
        headers: the request's, found by name in any case.
        given: parameters of the URL, and of a form's fields.
        described: names of tables that come along; the parameters that describe them are no settings.

    Raises:
        ClickHouseError: a parameter makes no sense.
    """
    parameters = {name.removeprefix("param_"): value for name, value in given.items() if name.startswith("param_")}
    descriptions = {f"{table}{part}" for table in described for part in ("_format", "_structure", "_types")}
    settings = {
        name: value
        for name, value in given.items()
        if name not in _RESERVED and not name.startswith("param_") and name not in descriptions
    }
    for name in settings:
        if not _SETTING.fullmatch(name):
            raise ClickHouseError(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
    compressed = _flag(settings, "enable_http_compression", default=True)
    return Call(
        query=given.get("query", "").encode(),
        database=headers.get("X-ClickHouse-Database") or given.get("database", ""),
        default_format=headers.get("X-ClickHouse-Format") or given.get("default_format", ""),
        query_id=given.get("query_id") or headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4()),
        settings=settings,
        parameters=parameters,
        read_only=method in {"GET", "HEAD"},
        session_id=given.get("session_id"),
        session_timeout=_session_timeout(given),
        session_check=_flag(given, "session_check"),
        close_session=_flag(given, "close_session"),
        framed_answer=_flag(given, "compress"),
        framed_body=_flag(given, "decompress"),
        check_frames=not _flag(settings, "http_native_compression_disable_checksumming_on_decompress"),
        content_encoding=headers.get("Content-Encoding", ""),
        answer_encoding=choose(headers.get("Accept-Encoding", "")) if compressed else None,
        zlib_level=min(9, max(1, _number(settings, "http_zlib_compression_level", 3))),
        wait_end=_flag(given, "wait_end_of_query") or _flag(settings, "http_wait_end_of_query"),
        buffer_size=_number(given, "buffer_size", _number(settings, "http_response_buffer_size", 0)),
    )


def _flag(values: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    value = values.get(name, "").lower()
    return default if not value else value in {"1", "true"}


def _number(values: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(values.get(name) or default)
    except ValueError:
        raise ClickHouseError(72, "CANNOT_PARSE_NUMBER", f"Cannot parse the number in parameter {name}") from None


def _session_timeout(given: Mapping[str, str]) -> int:
    text = given.get("session_timeout", str(_SESSION_TIMEOUT))
    if not text.isdecimal() or int(text) > _SESSION_TIMEOUT_LIMIT:
        raise ClickHouseError(
            374, "INVALID_SESSION_TIMEOUT", f"Invalid session timeout: '{text}'; at most {_SESSION_TIMEOUT_LIMIT}"
        )
    return int(text)
