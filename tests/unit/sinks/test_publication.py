import base64
import json

from sinks import publication
from streams.contracts.codec import Record
from streams.contracts.sections import Outbox
from tests.chunks import make_event


def record(section: Outbox, *values: object) -> Record:
    lines = b"".join(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for value in values)
    return Record({}, {section.value: lines})


def test_an_event_is_published_as_it_stands_under_its_message_id() -> None:
    event = {**make_event(message_id="m@例.jp", subject="件名\u2028\r\n"), "later": [1]}

    [(key, value, headers)] = publication.events(record(Outbox.EVENTS, event))

    assert key == "m@例.jp".encode()
    assert value is not None
    assert json.loads(value) == event
    assert headers == [("schema", b"event/1"), ("id", str(event["id"]).encode())]


def test_an_event_without_a_message_id_has_no_key() -> None:
    [(key, _, _)] = publication.events(record(Outbox.EVENTS, make_event(message_id="")))

    assert key is None


def test_a_lifecycle_is_published_without_the_workers_own_part() -> None:
    name = {"source": "cmc", "message_id": 'a"b,"~":x', "recipient": "u@例.jp"}
    line = {**name, "state": "queued", "subject": ',"~":[', "~": [["x"], [0]]}

    [(key, value, headers)] = publication.lifecycles(record(Outbox.LIFECYCLES, line))

    assert key == 'cmc\x1fa"b,"~":x\x1fu@例.jp'.encode()
    assert value is not None
    assert json.loads(value) == {**name, "state": "queued", "subject": ',"~":['}
    assert headers == [("schema", b"lifecycle/1")]


def test_a_blocked_address_is_published_and_a_lifted_one_is_a_tombstone() -> None:
    blocked = {
        "source": "cmc",
        "recipient": "u@example.jp",
        "blocked": True,
        "reason": "unsubscribed",
        "since": "2026-03-02T09:00:00.000Z",
        "until": None,
        "event": "0f",
    }
    lifted = {**blocked, "blocked": False, "until": "2026-03-03T09:00:00.000Z"}

    (key, value, headers), (lifted_key, lifted_value, _) = publication.suppressions(
        record(Outbox.SUPPRESSIONS, blocked, lifted)
    )

    assert key == lifted_key == b"cmc\x1fu@example.jp"
    assert value is not None
    assert json.loads(value) == {
        "source": "cmc",
        "recipient": "u@example.jp",
        "reason": "unsubscribed",
        "since": "2026-03-02T09:00:00.000Z",
        "until": None,
    }
    assert lifted_value is None
    assert headers == [("schema", b"suppression/1")]


def dead_letter(raw: bytes, **fields: object) -> dict[str, object]:
    return {
        "receipt": "0a",
        "number": 0,
        "part": 0,
        "parts": 1,
        "source": "cmc",
        "reason": "body_unreadable",
        "detail": "not JSON: 例",
        "topic": "",
        "partition": -1,
        "offset": -1,
        "version": "1.2.3",
        "received_at": "2026-03-02T09:00:00.000Z",
        "raw_base64": base64.b64encode(raw).decode(),
        **fields,
    }


def test_a_dead_letter_is_published_raw_with_what_is_known_of_it() -> None:
    raw = bytes(range(256))

    (key, value, headers), (_, chunk_value, chunk_headers) = publication.dead_letters(
        record(
            Outbox.DEAD_LETTERS,
            dead_letter(raw),
            dead_letter(b"", topic="mail.inbox", partition=3, offset=77, receipt=""),
        )
    )

    assert (key, value) == (None, raw)
    assert dict(headers) == {
        "reason": b"body_unreadable",
        "detail": "not JSON: 例".encode(),
        "source": b"cmc",
        "receipt": b"0a",
        "number": b"0",
        "part": b"0",
        "parts": b"1",
        "version": b"1.2.3",
    }
    assert chunk_value == b""
    assert {name: dict(chunk_headers)[name] for name in ("topic", "partition", "offset")} == {
        "topic": b"mail.inbox",
        "partition": b"3",
        "offset": b"77",
    }
