"""Receiving a body within its limits, and reading it as far as that goes before anybody knows who sent it."""

from dataclasses import dataclass, replace

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from ingest import bodies
from ingest.bodies import OverLimitError, UnreadableError
from ingest.harvest import Context, Harvest, Parcel, Provider, Reject
from ingest.holds import Hold
from ingest.problems import BodyTooLargeError, EncodingUnknownError, MalformedError, TransferBrokenError
from ingest.settings import Malformed


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """A body that arrived: read, or unreadable, or empty (then it has neither)."""

    size: int
    """Bytes, decompressed."""
    content_type: str = ""
    parcel: Parcel | None = None
    reject: Reject | None = None
    """Any key is still in it."""

    @property
    def api_key(self) -> str | None:
        """The key that it shows."""
        if self.parcel is not None:
            return self.parcel.api_key
        return bodies.find_key(self.reject.raw) if self.reject is not None else None

    def mistaken(self, provider: Provider) -> str:
        """Tell what it looks like, where its content type says something else; for those that are refused alone."""
        part = self.parcel or self.reject
        return provider.mistaken(part.raw, self.content_type) if part is not None else ""

    def harvest(self, provider: Provider, malformed: Malformed, context: Context) -> Harvest:
        """Make events of it, and a dead letter where it is unreadable.

        Raises:
            MalformedError: it is unreadable, and that is to be told instead.
            BodyTooLargeError: it holds too many events.
        """
        reject = self.reject and replace(self.reject, raw=bodies.without_key(self.reject.raw))
        if self.parcel is not None:
            try:
                return provider.harvest(self.parcel, context)
            except UnreadableError as error:
                reject = Reject(error.reason, str(error), self.parcel.raw)
            except OverLimitError as error:
                raise BodyTooLargeError(f"a post may have {context.max_events} events: send fewer in one") from error
        if reject is None:
            return Harvest()
        if mistake := self.mistaken(provider):
            # Of a form that is none, no key was taken out.
            reject = replace(reject, detail=f"{reject.detail}; {mistake}", raw=bodies.without_key(reject.raw))
        if malformed is Malformed.REJECT:
            raise MalformedError(reject.detail)
        return Harvest(rejects=[reject])


async def receive(request: web.Request, limit: int, provider: Provider, hold: Hold) -> Body:
    """Receive a body, undo its Content-Encoding, and read it as its provider writes it.

    The HTTP server must leave compressed bodies alone: what cannot be decompressed is kept as it came.

    Args:
        request: its head has been read.
        limit: bytes that the body may have, compressed or not.
        provider: knows its form.
        hold: grows with the body.

    Raises:
        RefusedError: one of several kinds.
        ConnectionError: the sender went away.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in bodies.ENCODINGS | {"", "identity"}:
        raise EncodingUnknownError(f"Content-Encoding {encoding[:40]!r} is unknown: use gzip, deflate or zstd")
    content_type = request.headers.get("Content-Type", "")
    raw = await _receive_bytes(request, limit, hold)
    try:
        if encoding in bodies.ENCODINGS:
            compressed, raw = raw, bodies.decompress(raw, encoding, limit)
            hold.grow(max(0, len(raw) - len(compressed)))
        if not raw.strip():
            return Body(size=len(raw))
        parcel = provider.unpack(raw, content_type)
        return Body(size=len(raw), content_type=content_type, parcel=parcel)
    except OverLimitError as error:
        raise _too_large(limit) from error
    except UnreadableError as error:
        return Body(size=len(raw), content_type=content_type, reject=Reject(error.reason, str(error), raw))


async def _receive_bytes(request: web.Request, limit: int, hold: Hold) -> bytes:
    announced = request.content_length or 0
    if announced > limit:
        raise _too_large(limit)
    hold.foresee(announced)  # what was only announced is not held: to announce much and send nothing costs no one else
    parts = []
    size = 0
    try:
        while part := await request.content.readany():
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            hold.grow(len(part))
            parts.append(part)
    except RequestPayloadError as error:
        raise TransferBrokenError(f"the body's framing is broken: {error}") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body may have {limit} bytes, decompressed: send fewer events in a post")
