"""What can be wrong with a post, and the single table from that to an HTTP answer (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from aiohttp import web

from streams.contracts.errors import TodokeError

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:todoke:problem:"


class RefusedError(TodokeError):
    """A post that is not taken; the message tells its sender what to do."""


class UnknownSourceError(RefusedError):
    """No source has this name."""


class SourceNotNamedError(RefusedError):
    """Several sources are configured, and the post names none."""


class WrongSecretError(RefusedError):
    """The post shows no secret that is valid for its source.

    Attributes:
        challenge: the value of ``WWW-Authenticate``, which RFC 9110 section 15.5.2 demands.
    """

    def __init__(self, message: str, challenge: str) -> None:
        super().__init__(message)
        self.challenge = challenge


class BodyTooLargeError(RefusedError):
    """The body is larger than its source may send."""


class EncodingUnknownError(RefusedError):
    """The body is compressed in a way that is not supported."""


class TransferBrokenError(RefusedError):
    """The body's framing is broken, so that not even its bytes are known."""


class MalformedError(RefusedError):
    """The body cannot be read, and its source wants to be told instead of having it kept."""


class OverloadedError(RefusedError):
    """More is under way than memory is set aside for."""

    retriable = True


class JournalFullError(RefusedError):
    """The local journal has reached its limit, since Kafka is away or too slow."""

    retriable = True


class NotDurableError(RefusedError):
    """Kafka or the disk did not acknowledge in time, or refused."""

    retriable = True


class StoppingError(RefusedError):
    """This process takes nothing new since it is about to end."""

    retriable = True


class UnexpectedError(RefusedError):
    """A mistake in todoke itself. Answered as something that can heal: the provider must not discard the events."""

    retriable = True


@dataclass(frozen=True, slots=True)
class Problem:
    """How one kind of error is answered."""

    status: HTTPStatus
    name: str
    """The end of the problem's type."""
    title: str


PROBLEMS: Mapping[type[RefusedError], Problem] = {
    SourceNotNamedError: Problem(
        HTTPStatus.BAD_REQUEST, "source-not-named", "The post does not say which source it is of"
    ),
    TransferBrokenError: Problem(HTTPStatus.BAD_REQUEST, "transfer-broken", "The body did not arrive whole"),
    MalformedError: Problem(HTTPStatus.BAD_REQUEST, "malformed-body", "The body cannot be read"),
    WrongSecretError: Problem(HTTPStatus.UNAUTHORIZED, "wrong-secret", "The post shows no valid secret"),
    UnknownSourceError: Problem(HTTPStatus.NOT_FOUND, "unknown-source", "There is no such source"),
    BodyTooLargeError: Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", "The body is too large"),
    EncodingUnknownError: Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unknown-encoding", "The body is compressed in an unknown way"
    ),
    OverloadedError: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "Too much is under way"),
    JournalFullError: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "journal-full", "The journal is full"),
    NotDurableError: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "not-durable", "The events could not be stored now"),
    StoppingError: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "stopping", "This process is about to end"),
    UnexpectedError: Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unexpected", "Something unexpected happened here"),
}
"""The one table: every error, its status and its words. What is retriable is answered with ``Retry-After``."""


def answer(error: RefusedError, *, retry_after: int) -> web.Response:
    """Make the HTTP answer for an error.

    Args:
        error: what happened.
        retry_after: seconds to wait, told where trying again makes sense.
    """
    problem = PROBLEMS[type(error)]
    headers = {}
    if error.retriable:
        headers["Retry-After"] = str(retry_after)
    if isinstance(error, WrongSecretError):
        headers["WWW-Authenticate"] = error.challenge
    if isinstance(error, EncodingUnknownError):
        headers["Accept-Encoding"] = "gzip, deflate, zstd"
    return document(problem.status, problem.name, problem.title, str(error), headers)


def of_http(error: web.HTTPException) -> web.Response:
    """Put what the HTTP server itself refuses (no such path, wrong method) in the same form."""
    status = HTTPStatus(error.status)
    headers = {name: value for name, value in error.headers.items() if name == "Allow"}
    detail = "see /openapi.json for the paths and methods there are"
    return document(status, status.name.lower().replace("_", "-"), status.phrase, detail, headers)


def document(status: HTTPStatus, name: str, title: str, detail: str, headers: Mapping[str, str]) -> web.Response:
    """Write a problem document, RFC 9457 section 3."""
    problem = {"type": TYPE_PREFIX + name, "title": title, "status": status, "detail": detail}
    body = orjson.dumps(problem, option=orjson.OPT_APPEND_NEWLINE)
    return web.Response(status=status, body=body, headers=headers, content_type=CONTENT_TYPE)
