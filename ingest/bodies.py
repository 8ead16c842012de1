"""From the bytes of a body to values: decompressed, decoded, parsed, never beyond a limit. Pure functions."""

import binascii
import contextlib
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
import orjson

from streams.contracts.dead_letter import Reason
from streams.contracts.errors import TodokeError
from streams.contracts.zstd import zstd

T = TypeVar("T")

API_KEY = "api_key"
ENCODINGS = frozenset({"gzip", "x-gzip", "deflate", "zstd"})
"""Values of Content-Encoding that are understood (RFC 9110 section 8.4.1, RFC 8878)."""

PARAMETERS = 1000
"""Parameters that a form may have."""

SMALL = 1024 * 1024
"""Bytes of JSON up to which nobody asks what it takes when it is parsed."""

PARSED_LIMIT = 12
"""Times of its bytes that JSON may take when it is parsed. Records of mails take 4 to 8, ``[{},{},…]`` takes 24."""

OBJECT_SIZE, ARRAY_SIZE, TEXT_SIZE, NAME_SIZE = 208, 80, 72, 40
"""Bytes that an object, an array, a text and a name take in CPython, beyond their characters. (A name that is repeated
costs nothing but its place in the object.)"""

MEMBERS = 64
"""Members or frames that one compressed body may consist of. Each costs a copy of what follows it."""


class UnreadableError(TodokeError):
    """A body or a part of it cannot be read; its message is a sentence for people.

    Attributes:
        reason: why, as it will stand in the dead letter.
    """

    def __init__(self, message: str, reason: Reason = Reason.BODY_UNREADABLE) -> None:
        super().__init__(message)
        self.reason = reason


class OverLimitError(TodokeError):
    """A body would be larger decompressed than it may be, or holds more events than it may."""


def decompress(raw: bytes, encoding: str, limit: int) -> bytes:
    """Undo a Content-Encoding, one or several members or frames after each other.

    Args:
        raw: as received.
        encoding: one of `ENCODINGS`.
        limit: bytes that the result may have; no more memory than that is used, whatever the input claims.

    Raises:
        OverLimitError: the result would be larger.
        UnreadableError: the bytes are not of this encoding, or were cut short.
    """
    parts: list[bytes] = []
    room = limit + 1
    while raw:
        if len(parts) == MEMBERS:
            raise UnreadableError(f"the body is {encoding} in more than {MEMBERS} members")
        decompressor = _decompressor(raw, encoding)
        try:
            part = decompressor.decompress(raw, room)
        except (zlib.error, zstd.ZstdError) as error:
            raise UnreadableError(f"the body is not {encoding}: {error}") from error
        parts.append(part)
        room -= len(part)
        if room <= 0:
            raise OverLimitError
        if not decompressor.eof:
            raise UnreadableError(f"the body is {encoding} that was cut short")
        raw = decompressor.unused_data
    return b"".join(parts)


def _decompressor(raw: bytes, encoding: str) -> Any:
    if encoding == "zstd":
        return zstd.ZstdDecompressor()
    if encoding == "deflate":
        # RFC 9110 means the zlib format by it, some senders the bare deflate stream: the first half-byte tells.
        return zlib.decompressobj(zlib.MAX_WBITS if raw[0] & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS)
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def read_json(raw: bytes) -> Any:
    """Parse JSON (RFC 8259).

    Two things that orjson refuses are taken: a byte order mark, and halves of surrogate pairs, which senders make when
    they cut a text at a number of UTF-16 units; U+FFFD stands in their place.

    Raises:
        UnreadableError: it is no JSON, nested beyond all measure, or of so many tiny values that it would take much
            more memory than any body of its size that tells of mails.
    """
    if _is_dense(raw):
        raise UnreadableError("the body has more values than bytes of text to fill them", Reason.BODY_SHAPE)
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        try:
            tree = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse)
            text = json.dumps(tree, ensure_ascii=False, allow_nan=False)
            return orjson.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
        except (ValueError, RecursionError):
            raise UnreadableError(f"the body is not JSON: {error}") from error


def read_exactly(raw: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """Parse JSON of exactly one form, in half the time that `read_json` and looking at each value take.

    Returns:
        The same as one would make of `read_json`'s values; ``None`` for whatever is of another form or no JSON.
    """
    if _is_dense(raw):
        return None
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_dense(raw: bytes) -> bool:
    return len(raw) > SMALL and _parsed_size(raw) > PARSED_LIMIT * len(raw)


def _parsed_size(raw: bytes) -> int:
    """Guess the memory that JSON takes when it is parsed, from above but for numbers, which need no guess.

    What stands inside of texts is counted, too: a body is only suspicious if it holds hardly anything else. Counting
    bytes takes a hundredth of the time of parsing them.
    """
    return (
        OBJECT_SIZE * raw.count(b"{")
        + ARRAY_SIZE * raw.count(b"[")
        + TEXT_SIZE * raw.count(b'",')
        + NAME_SIZE * raw.count(b'":')
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def read_form(raw: bytes) -> dict[str, bytes]:
    """Parse ``application/x-www-form-urlencoded``; of parameters that repeat, the last one counts.

    Raises:
        UnreadableError: a name is not UTF-8, or there are too many.
    """
    pairs = raw.strip().split(b"&", PARAMETERS)
    if len(pairs) > PARAMETERS:
        raise UnreadableError(f"the body has more than {PARAMETERS} parameters")
    try:
        parted = [pair.partition(b"=") for pair in pairs]
        return {_percent_decoded(name).decode(): _percent_decoded(value) for name, _, value in parted}
    except UnicodeDecodeError as error:
        raise UnreadableError(f"the body is not form data in UTF-8: {error}") from error


def _percent_decoded(text: bytes) -> bytes:
    """Undo percent-encoding at the speed of C.

    Quoted-printable is the same with another escape character, and the standard library decodes it natively, forty
    times faster than ``urllib.parse``: the JSON in a form is mostly escapes.
    """
    return binascii.a2b_qp(text.replace(b"+", b" ").replace(b"=", b"=3D").replace(b"%", b"="))


def read_multipart(raw: bytes, content_type: str) -> dict[str, bytes]:
    """Parse ``multipart/form-data`` (RFC 7578), with line ends of either kind.

    Raises:
        UnreadableError: there is no part with a name, or there are too many.
    """
    values = {name.decode("utf-8", "replace"): value for _, name, value in _parts(raw, content_type)}
    if not values:
        raise UnreadableError("the body is not multipart/form-data with the boundary that its Content-Type announces")
    return values


def _parts(raw: bytes, content_type: str) -> Iterator[tuple[bytes, bytes, bytes]]:
    """List the parts that have a name: the whole part, name, value."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return
    delimiter = re.escape(boundary[1].encode("utf-8", "surrogateescape"))
    parts = re.split(rb"\r?\n--" + delimiter, b"\n" + raw, maxsplit=PARAMETERS + 2)
    if len(parts) > PARAMETERS + 2:
        raise UnreadableError(f"the body has more than {PARAMETERS} parts")
    for part in parts[1:]:
        head, *value = _BLANK_LINE.split(part, maxsplit=1)
        name = _PART_NAME.search(head)
        if name is not None and value:
            yield part, name[1], value[0]


_BOUNDARY = re.compile(r'boundary="?([^";\s]{1,70})', re.IGNORECASE)
_PART_NAME = re.compile(rb'content-disposition:[^\n]*[;\s]name="?([^"\r\n;]*)', re.IGNORECASE)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_KEY_IN_JSON = re.compile(rb'("api_key"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^\s,}\]]+)', re.DOTALL)
_KEY_IN_FORM = re.compile(rb"((?:^|&)api(?:_|%5[Ff])key=)([^&]*)")
_KEY_IN_PART = re.compile(rb'(name="?api_key"?[^\n]{0,998}\n(?:[^\r\n]{1,998}\r?\n){0,9}\r?\n)([^\r\n]*)')


def find_key(raw: bytes) -> str | None:
    """Find the ``api_key`` in a body that cannot be read, so that it is known whether to keep it."""
    if found := _KEY_IN_JSON.search(raw):
        with contextlib.suppress(orjson.JSONDecodeError):
            key = orjson.loads(found[2])
            return key if isinstance(key, str) else None
    elif found := _KEY_IN_FORM.search(raw):
        return _percent_decoded(found[2]).decode("utf-8", "replace")
    elif found := _KEY_IN_PART.search(raw):
        return found[2].decode("utf-8", "replace")
    return None


def without_form_key(raw: bytes) -> bytes:
    """Take every ``api_key`` out of a form that can be read, however its name is written."""
    name = API_KEY.encode()
    return b"&".join(pair for pair in raw.strip().split(b"&") if _percent_decoded(pair.partition(b"=")[0]) != name)


def without_part_key(raw: bytes, content_type: str) -> bytes:
    """Take every ``api_key`` out of a multipart body that can be read, however its part is written."""
    for part, name, _ in _parts(raw, content_type):
        if name == API_KEY.encode():
            raw = raw.replace(part, b"")
    return raw


def without_key(raw: bytes) -> bytes:
    """Blank out every ``api_key`` in bytes of whatever form, as far as it is found in what may be unreadable."""
    raw = _KEY_IN_JSON.sub(rb'\1""', raw)
    raw = _KEY_IN_FORM.sub(rb"\1", raw)
    return _KEY_IN_PART.sub(rb"\1", raw)
