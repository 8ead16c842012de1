"""Posts of Customers Mail Cloud as they stand on the wire: versions 1 and 2, form and JSON."""

from collections.abc import Sequence
from urllib.parse import urlencode

import orjson

from tests.traffic.mails import Record

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
VERSION_1 = {"returnPath": "envelopeFrom", "to": "envelopeTo"}
"""What version 1 calls other than version 2."""
NOT_IN_VERSION_1 = frozenset({"from", "apiData"})


def as_version_1(record: Record) -> Record:
    """Write a record the way version 1 does."""
    return {VERSION_1.get(name, name): text for name, text in record.items() if name not in NOT_IN_VERSION_1}


def body(kind: str, records: Sequence[Record], *, composition: str, content_type: str) -> bytes:
    """Write a post. The provider escapes ``<`` and ``>`` inside JSON, capitals first."""
    event = orjson.dumps({kind: records}).replace(b"<", b"\\u003C").replace(b">", b"\\u003E")
    if content_type == JSON:
        return b'{"event_type":"%b","server_composition":"%b","event":%b}' % (
            kind.encode(),
            composition.encode(),
            event,
        )
    return urlencode({"server_composition": composition, "event_type": kind, "event": event}).encode()
