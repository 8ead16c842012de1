"""Events and inbox records as ingest writes them, made by hand."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, cast

import orjson

from streams.contracts.codec import Record, decode, encode
from streams.contracts.events import Event
from streams.contracts.sections import Inbox, ReceiptPart

RECEIVED = "2026-03-02T00:10:00.000Z"


def make_event(**given: str) -> Event:
    """Make an event: what is not given is filled in, the id follows from everything else unless it is given too."""
    event: dict[str, str] = {
        "id": "",
        "source": "cmc",
        "provider": "customers-mail-cloud",
        "composition": "pro",
        "type": "queued",
        "provider_status": "queued",
        "message_id": "one@example.com",
        "recipient": "user@example.jp",
        "sender": "info@example.com",
        "return_path": "info@return.pro.smtps.jp",
        "subject": "ご注文ありがとうございます",
        "reason": "",
        "api_data": "",
        "source_ip": "",
        "sender_ip": "",
        "bounce_code": "",
        "bounce_class": "",
        "bounce_reason": "",
        "occurred_at": "2026-03-02T00:00:00.000Z",
        "occurred_raw": "2026-03-02 09:00:00",
        "received_at": RECEIVED,
        "receipt": f"{1:032x}",
        **given,
    }
    event["id"] = event["id"] or hashlib.blake2b(orjson.dumps(event), digest_size=16).hexdigest()
    return cast("Event", event)


def make_chunk(
    events: Iterable[Event] = (),
    *,
    raw_lines: Sequence[bytes] = (),
    dead_letters: bytes = b"",
    answered: bytes = b"",
    receipts: Sequence[ReceiptPart] | None = None,
) -> bytes:
    """Make an inbox record of events, with the receipts that they name."""
    events = list(events)
    if receipts is None:
        counted: dict[str, int] = {}
        for event in events:
            counted[event["receipt"]] = counted.get(event["receipt"], 0) + 1
        receipts = [
            ReceiptPart(
                receipt=receipt, source="cmc", received_at=RECEIVED, accepted=count, events=count, dead_letters=0
            )
            for receipt, count in counted.items()
        ]
    lines = [*(orjson.dumps(event) for event in events), *raw_lines]
    sections: dict[str, bytes] = {
        Inbox.EVENTS: b"".join(line + b"\n" for line in lines),
        Inbox.RECEIPTS: b"".join(orjson.dumps(receipt) + b"\n" for receipt in receipts),
        Inbox.DEAD_LETTERS: dead_letters,
        Inbox.ANSWERED: answered,
    }
    return encode({}, sections)


def rows(record: Record | bytes, section: str) -> list[dict[str, Any]]:
    """Read the lines of a section."""
    record = decode(record) if isinstance(record, bytes) else record
    return [orjson.loads(line) for line in record.section(section).split(b"\n")[:-1]]
