import json
from typing import Any

import orjson
import pytest

from deploy.dead_letters import Letter
from deploy.rereading import Rereading, reread
from ingest.settings import ProviderName, SourceSettings
from streams.contracts.codec import compressed
from streams.contracts.compression import Compression
from streams.contracts.topics import CHUNK_LIMIT, OUTBOX_LIMIT
from tests.chunks import make_chunk, make_event

SOURCES = {
    "cmc": SourceSettings(),
    "shop": SourceSettings(provider=ProviderName.GENERIC),
}
RECORD = {"messageId": "1@x", "to": "user@example.jp", "status": "queued", "created": "2026-03-02 09:00:00"}
POST = {"event_type": "deliveries", "event": {"deliveries": [RECORD]}}
OWN = {"type": "queued", "recipient": "user@example.jp", "occurred_at": "2026-03-02T00:00:00Z"}


def letter(raw: bytes | None, *, source: str = "cmc", reason: str = "record_shape", detail: str = "") -> Letter:
    return Letter(name=("r", 0, "", -1, -1), source=source, reason=reason, detail=detail, raw=raw)


def read(raw: bytes | None, **given: str) -> Rereading:
    return reread(letter(raw, **given), SOURCES, "f" * 32, "2026-03-03T00:00:00.000Z")


FORM = b"event_type=deliveries&event=%7B%22deliveries%22%3A%5B" + json.dumps(RECORD).encode() + b"%5D%7D"
MULTIPART = (
    b'--cut\r\nContent-Disposition: form-data; name="event_type"\r\n\r\ndeliveries\r\n'
    b'--cut\r\nContent-Disposition: form-data; name="event"\r\n\r\n'
    + json.dumps(POST["event"]).encode()
    + b"\r\n--cut--"
)


@pytest.mark.parametrize("raw", [json.dumps(POST).encode(), FORM, MULTIPART], ids=["json", "form", "multipart"])
def test_a_post_is_read_as_its_provider_writes_it_whatever_its_form(raw: bytes) -> None:
    reading = read(raw)

    assert [(event["message_id"], event["receipt"]) for event in reading.events] == [("1@x", "f" * 32)]
    assert not reading.trouble


@pytest.mark.parametrize(
    "raw", [json.dumps([OWN]).encode(), json.dumps(OWN).encode() + b"\n" + json.dumps(OWN).encode()]
)
def test_what_came_in_todokes_own_form_is_read_for_a_provider_too(raw: bytes) -> None:
    assert {event["recipient"] for event in read(raw).events} == {"user@example.jp"}


def test_what_is_readable_is_told_apart_from_the_rest() -> None:
    post: dict[str, Any] = {"event_type": "deliveries", "event": {"deliveries": [RECORD, {"messageId": "2@x"}]}}
    reading = read(json.dumps(post).encode())

    assert len(reading.events) == 1
    assert reading.trouble == "record 1: it has no status"


@pytest.mark.parametrize(
    ("raw", "given", "trouble"),
    [
        (b"<xml/>", {}, "event_type is missing"),
        (None, {}, "a part of it is not in the table"),
        (b"{}", {"source": "gone"}, "there is no source gone any more: configure [sources.gone]"),
        (b"{}", {"reason": "row_refused"}, "ClickHouse refused it"),
    ],
)
def test_what_cannot_be_read_says_why(raw: bytes | None, given: dict[str, str], trouble: str) -> None:
    reading = read(raw, **given)

    assert (reading.events, reading.record) == ((), None)
    assert reading.trouble.startswith(trouble)


NO_TIME, NO_TYPE = "it has no occurred_at", "it has no type"


@pytest.mark.parametrize(
    ("raw", "detail", "trouble"),
    [
        (b'{"type":"queued","recipient":"a@x"}', f"event 7: {NO_TIME}", NO_TIME),
        (b"1", "event 7: it is no object", "it is no object"),
        (b"{broken", "event 7: the line is not JSON: unexpected character", "the line is not JSON"),
        (b"event_type=bounces&event={", "the field event is not JSON: unexpected", "the field event is not JSON"),
        (b"<xml/>", "the body is not JSON: unexpected character", "the body is not JSON"),
        (b'{"event_type":"bounces"}', f"event 0: {NO_TYPE}", NO_TYPE),
        (b'{"event_type":"bounces","event":{"bounces":[1]}}', f"event 0: {NO_TYPE}", "it is no object"),
        (b'{"event_type":"bounces"}', "event holds no array 'bounces'", "event holds no array 'bounces'"),
    ],
)
def test_the_trouble_is_told_of_the_form_in_which_a_letter_came(raw: bytes, detail: str, trouble: str) -> None:
    assert read(raw, detail=detail).trouble.startswith(trouble)


def test_lines_of_a_chunk_keep_their_identity_and_get_the_new_receipt() -> None:
    event = make_event()
    raw = orjson.dumps(event) + b"\n{broken\n"
    reading = read(raw, source="", reason="chunk_poison")

    assert reading.events == ({**event, "receipt": "f" * 32, "received_at": "2026-03-03T00:00:00.000Z"},)
    assert reading.trouble == "1 line is no event"


@pytest.mark.parametrize("depth", [500, 100_000])
def test_a_line_that_is_nested_beyond_measure_leaves_the_others(depth: int) -> None:
    event = make_event()
    nested = orjson.dumps(event)[:-1] + b',"more":' + b"[" * depth + b"]" * depth + b"}"
    reading = read(nested + b"\n" + orjson.dumps(event) + b"\n", source="", reason="chunk_poison")

    assert [one["id"] for one in reading.events] == [event["id"]]
    assert reading.trouble == "1 line is no event"


def test_a_whole_record_that_can_be_read_now_goes_back_as_it_is() -> None:
    record = make_chunk([make_event()])

    assert read(record, source="", reason="chunk_unreadable").record == record
    assert read(b'{"form":99}\n', source="", reason="chunk_unreadable").record is None


def test_a_compressed_record_goes_back_as_it_is_only_if_the_worker_can_read_it() -> None:
    short, long = (
        compressed(make_chunk([make_event()] * times), Compression.ZSTD, OUTBOX_LIMIT) for times in (50, 5000)
    )

    assert read(short, source="", reason="chunk_unreadable").record == short
    assert compressed(short, Compression.ZSTD, CHUNK_LIMIT) is short, "the publisher writes it as it stands"
    assert read(long, source="", reason="chunk_unreadable").record is None
