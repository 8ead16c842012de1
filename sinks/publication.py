"""What the public topics get of an outbox record. Pure: values in, values out.

Values are the lines as they stand in the record; only what makes the key is read.
"""

import base64
from collections.abc import Iterator

import msgspec

from streams.contracts.codec import Record, lines_of
from streams.contracts.events import SCHEMA as EVENT_SCHEMA
from streams.contracts.identity import SEPARATOR
from streams.contracts.sections import Outbox, event_id, event_key, lifecycle_key, public_lifecycle

SCHEMA_HEADER = "schema"
LIFECYCLE_SCHEMA = b"lifecycle/1"
SUPPRESSION_SCHEMA = b"suppression/1"

Headers = list[tuple[str, bytes | None]]
"""As aiokafka wants them; none of ours is without a value."""


Publication = tuple[bytes | None, bytes | None, Headers]
"""One record of a public topic: key, value, headers. A plain tuple, since there is one for each event and more."""


class _Suppression(msgspec.Struct, gc=False):
    source: str
    recipient: str
    blocked: bool
    reason: str
    since: str
    until: str | None


class _PublicSuppression(msgspec.Struct, gc=False):
    source: str
    recipient: str
    reason: str
    since: str
    until: str | None


class _DeadLetter(msgspec.Struct, gc=False):
    receipt: str
    number: int
    part: int
    parts: int
    source: str
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    version: str
    raw_base64: str


_suppressions = msgspec.json.Decoder(_Suppression)
_dead_letters = msgspec.json.Decoder(_DeadLetter)
_encoder = msgspec.json.Encoder()

_EVENT_HEADER = (SCHEMA_HEADER, EVENT_SCHEMA.encode())
_LIFECYCLE_HEADERS: Headers = [(SCHEMA_HEADER, LIFECYCLE_SCHEMA)]  # aiokafka takes nothing but lists
_SUPPRESSION_HEADERS: Headers = [(SCHEMA_HEADER, SUPPRESSION_SCHEMA)]


def events(record: Record) -> Iterator[Publication]:
    """Publish each event under its message id; those without one have no key."""
    for line in lines_of(record.section(Outbox.EVENTS)):
        yield event_key(line) or None, line, [_EVENT_HEADER, ("id", event_id(line))]


def lifecycles(record: Record) -> Iterator[Publication]:
    """Publish each lifecycle as it was after the record, under source, message id and recipient."""
    for line in lines_of(record.section(Outbox.LIFECYCLES)):
        yield lifecycle_key(line), public_lifecycle(line), _LIFECYCLE_HEADERS


def suppressions(record: Record) -> Iterator[Publication]:
    """Publish who must not be mailed, and a tombstone for who may be again."""
    for line in lines_of(record.section(Outbox.SUPPRESSIONS)):
        latest = _suppressions.decode(line)
        key = f"{latest.source}{SEPARATOR}{latest.recipient}".encode()
        value = None
        if latest.blocked:
            value = _encoder.encode(
                _PublicSuppression(latest.source, latest.recipient, latest.reason, latest.since, latest.until)
            )
        yield key, value, _SUPPRESSION_HEADERS


def dead_letters(record: Record) -> Iterator[Publication]:
    """Publish the raw bytes, with what is known of them in the headers."""
    for line in record.section(Outbox.DEAD_LETTERS).splitlines():
        letter = _dead_letters.decode(line)
        known = {
            "reason": letter.reason,
            "detail": letter.detail,
            "source": letter.source,
            "receipt": letter.receipt,
            "number": letter.number,
            "part": letter.part,
            "parts": letter.parts,
            "version": letter.version,
        }
        if letter.topic:
            known |= {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset}
        headers: Headers = [(name, str(value).encode()) for name, value in known.items()]
        yield None, base64.b64decode(letter.raw_base64), headers
