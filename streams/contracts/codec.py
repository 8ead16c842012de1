r"""The form of records on the internal topics: one header line, then sections of newline-delimited JSON.

::

    {"form":1, …, "sections":{"events":81233,"receipts":512}}\n
    {"id":"…", …}\n            the section "events", 81233 bytes
    {"receipt":"…", …}\n       the section "receipts", 512 bytes

A section is handed on as it stands: the events of an inbox record go into ClickHouse without being parsed again. The
header is the only part that is JSON for everybody, so that knowing a record costs the same however much it holds.

On its topic a record may stand compressed: the header is the same but for its form, which is 3, and what follows is a
frame of Zstandard in the place of the sections, see `streams.contracts.compression`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from streams.contracts.compression import Compression, UnpackingError, pack, unpack
from streams.contracts.errors import FormError, LaterFormError
from streams.contracts.topics import OUTBOX_LIMIT

FORM = 1
"""Version of this form, the first thing in every header."""

SPREAD_FORM = 2
"""Of a record that means something only together with others, see `streams.ahead`. Who knows nothing of that would take
it for a whole one and lose what the others say, so it has a form that such a version refuses."""

COMPRESSED_FORM = 3
"""Of a record, whole or not, whose sections are compressed."""

SHORT = 1000
"""Bytes of a value that is not compressed: nothing is gained, and it can be read with any tool."""

_PLAIN = (b'{"form":%d,' % FORM, b'{"form":%d,' % SPREAD_FORM)


FORM_HEADER = ("form", b"record/%d" % FORM)
"""The Kafka record header that names the form to whoever looks at the topic with other tools."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an internal topic, taken apart."""

    header: Mapping[str, Any]
    """What the writer says of the record; see the callers for its keys."""

    sections: Mapping[str, bytes]
    """Newline-delimited JSON by name; a section that is not there is empty."""

    def section(self, name: str) -> bytes:
        """Give the lines of one section, each ended by a newline; empty if the record has none."""
        return self.sections.get(name, b"")


def form_header(value: bytes) -> tuple[str, bytes]:
    """Give the Kafka record header of a record that `encode` wrote, or `compressed` gave; `FORM_HEADER` of others."""
    forms = (form for form in (FORM, SPREAD_FORM, COMPRESSED_FORM) if value.startswith(b'{"form":%d,' % form))
    return next((("form", b"record/%d" % form) for form in forms), FORM_HEADER)


def encode(header: Mapping[str, Any], sections: Mapping[str, bytes], form: int = FORM) -> bytes:
    """Write a record. Empty sections are left out.

    Args:
        header: anything JSON; ``form`` and ``sections`` are added, or replaced where it was another record's.
        sections: newline-delimited JSON, every line ended by a newline.
        form: what a reader must know to read it.
    """
    filled = {name: lines for name, lines in sections.items() if lines}
    sizes = {name: len(lines) for name, lines in filled.items()}
    head = {"form": form} | dict(header) | {"form": form, "sections": sizes}
    return b"".join((json.dumps(head, separators=(",", ":")).encode(), b"\n", *filled.values()))


def compressed(value: bytes, compression: Compression, limit: int) -> bytes:
    """Give a record as it is written to its topic.

    Args:
        value: that `encode` wrote. Anything else stays as it is.
        compression: how it is wanted.
        limit: bytes that its readers unpack, see `decode`. A longer one stays as it is.
    """
    if compression is Compression.NONE or not SHORT < len(value) <= limit or not value.startswith(_PLAIN):
        return value
    head, newline, sections = value.partition(b"\n")
    if not newline:
        return value
    return b"".join((b'{"form":%d' % COMPRESSED_FORM, head[head.index(b",") :], newline, pack(sections)))


def lines_of(section: bytes) -> list[bytes]:
    """Cut a section into its lines, without their ends.

    A file in memory finds them with ``memchr``; `bytes.split` and `bytes.splitlines` look at every byte by itself.
    """
    return [line.removesuffix(b"\n") for line in BytesIO(section)]


def decode(value: bytes, limit: int = OUTBOX_LIMIT) -> Record:
    """Take a record apart.

    Args:
        value: that `encode` wrote, or `compressed` gave.
        limit: bytes of sections that are unpacked, where it is compressed.

    Raises:
        LaterFormError: it is a record of a later form.
        FormError: it is no record, or was cut short.
    """
    try:
        end = value.index(b"\n")
        header = json.loads(value[:end])
        form, sizes = header["form"], header["sections"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormError("not a record of todoke's internal topics: it does not start with a header line") from error
    if form not in (FORM, SPREAD_FORM, COMPRESSED_FORM):
        if type(form) is int and form > COMPRESSED_FORM:
            raise LaterFormError(
                f"the record has form {form}, this version of todoke reads forms up to {COMPRESSED_FORM}: upgrade this"
                " process"
            )
        raise FormError(f"the record has form {form!r}, which no version of todoke has written")
    if not isinstance(sizes, dict) or not all(type(size) is int and size >= 0 for size in sizes.values()):
        raise FormError("the record's header does not tell the sizes of its sections")
    total = sum(sizes.values())
    at = end + 1
    if form == COMPRESSED_FORM:
        value, at = _unpacked(value[at:], total, limit), 0
    if at + total != len(value):
        raise FormError(f"the record holds {len(value)} bytes where its header announces {at + total}")
    sections = {}
    for name, size in sizes.items():
        sections[name] = value[at : at + size]
        at += size
    return Record(header, sections)


def _unpacked(frame: bytes, size: int, limit: int) -> bytes:
    if size > limit:
        raise FormError(f"the record's sections have {size} bytes, {limit} are unpacked")
    try:
        return unpack(frame, size)
    except UnpackingError as error:
        raise FormError(f"the record's sections cannot be unpacked: {error}") from error
