"""Recorded payloads with the events that they must make, and everything odd that a provider might send."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from msgspec.structs import asdict

from ingest.bodies import UnreadableError
from ingest.event import Event
from ingest.harvest import KEY_LIMIT, REJECTS_LIMIT, Context, Harvest
from ingest.providers.customers_mail_cloud import BOUNCES, COMPOSITION_LIMIT, DELIVERIES, CustomersMailCloud
from streams.contracts.dead_letter import Reason
from streams.contracts.identity import event_id

PAYLOADS = Path(__file__).parents[2] / "payloads" / "customers-mail-cloud"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
CMC = CustomersMailCloud()

RECORD = {
    "created": "2023-01-25 14:03:06",
    "status": "queued",
    "messageId": "<1@example.com>",
    "to": "user@Example.JP",
    "from": "info@example.com",
}


def harvest(raw: bytes, content_type: str, context: Context) -> Harvest:
    return CMC.harvest(CMC.unpack(raw, content_type), context)


def post(*records: object, kind: str = "deliveries", **more: object) -> bytes:
    return json.dumps({"event_type": kind, "server_composition": "pro", "event": {kind: records}, **more}).encode()


def one(context: Context, kind: str = "deliveries", **fields: object) -> Event:
    found = harvest(post({**RECORD, **fields}, kind=kind), JSON, context)
    assert not found.rejects
    (event,) = found.events
    return event


def as_form(raw: bytes) -> bytes:
    body = orjson.loads(raw)
    return urlencode({**body, "event": orjson.dumps(body["event"])}).encode()


def payloads() -> list[Path]:
    return sorted(
        path
        for path in PAYLOADS.iterdir()
        if path.suffix in (".json", ".form") and path.with_suffix(".events.json").exists()
    )


def expected(path: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = orjson.loads(path.with_suffix(".events.json").read_bytes())
    return events


def without_receipt(found: Harvest) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in asdict(event).items() if name not in ("received_at", "receipt")}
        for event in found.events
    ]


@pytest.mark.parametrize("path", payloads(), ids=lambda path: path.name)
def test_recorded_payloads_make_the_events_beside_them(path: Path, context: Context) -> None:
    found = harvest(path.read_bytes(), JSON if path.suffix == ".json" else FORM, context)
    assert not found.rejects
    assert without_receipt(found) == expected(path)
    assert {event.receipt for event in found.events} == {context.receipt}


@pytest.mark.parametrize("path", [path for path in payloads() if path.suffix == ".json"], ids=lambda path: path.name)
def test_a_form_makes_the_same_events_as_json(path: Path, context: Context) -> None:
    found = harvest(as_form(path.read_bytes()), FORM, context)
    assert without_receipt(found) == expected(path)


def test_the_form_of_version_1_is_that_of_its_decoded_view(context: Context) -> None:
    form = harvest((PAYLOADS / "event-v1.form").read_bytes(), FORM, context)
    decoded = harvest((PAYLOADS / "deliveries-v1.json").read_bytes(), JSON, context)
    assert form.events == decoded.events


def test_payloads_are_all_there() -> None:
    assert len(payloads()) == 12


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/octet-stream"])
def test_the_looks_decide_where_the_content_type_does_not(content_type: str, context: Context) -> None:
    raw = post(RECORD)
    assert harvest(raw, content_type, context).events == harvest(raw, JSON, context).events
    assert harvest(as_form(raw), content_type, context).events == harvest(raw, JSON, context).events


def test_multipart_is_taken(context: Context) -> None:
    body = orjson.loads(post(RECORD))
    parts = {**body, "event": orjson.dumps(body["event"]).decode(), "api_key": "k"}
    raw = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts.items()
    )
    parcel = CMC.unpack(f"{raw}--b--\r\n".encode(), "multipart/form-data; boundary=b")
    assert parcel.api_key == "k"
    assert CMC.harvest(parcel, context).events == harvest(post(RECORD), JSON, context).events


@pytest.mark.parametrize("content_type", [JSON, FORM])
def test_the_key_is_taken_out_of_what_is_kept(content_type: str) -> None:
    raw = post(RECORD, api_key="s3cret")
    parcel = CMC.unpack(raw if content_type == JSON else as_form(raw), content_type)
    assert parcel.api_key == "s3cret"
    assert b"s3cret" not in parcel.raw
    assert "s3cret" not in repr(parcel.content)


@pytest.mark.parametrize(
    "form",
    [
        b"%61pi_key=s3cret&event_type=later",
        b"event_type=later&api_ke%79=s3cret&API=1",
        b" api_key=s3cret&event_type=later&api%5fkey=s3cret",
    ],
)
def test_a_key_whose_name_is_written_oddly_is_not_kept(form: bytes) -> None:
    parcel = CMC.unpack(form, FORM)
    assert parcel.api_key == "s3cret"
    assert b"s3cret" not in parcel.raw
    assert b"event_type=later" in parcel.raw


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; NAME="api_key"',
        b'content-disposition: form-data; name="api_key"' + b"\r\nX-More: 1" * 12,
        b'Content-Disposition: form-data; name="api_key"; filename="%b"' % (b"f" * 1200),
    ],
)
def test_a_key_in_an_odd_part_is_not_kept(head: bytes) -> None:
    raw = b"--b\r\n" + head + b'\r\n\r\ns3cret\r\n--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--'
    parcel = CMC.unpack(raw, "multipart/form-data; boundary=b")
    assert parcel.api_key == "s3cret"
    assert b"s3cret" not in parcel.raw
    assert b'name="x"\r\n\r\n1\r\n' in parcel.raw


def test_a_body_without_a_key_is_kept_to_the_letter() -> None:
    raw = post(RECORD) + b"  \n"
    assert CMC.unpack(raw, JSON).raw is raw


def test_a_key_that_is_no_text_is_none() -> None:
    assert CMC.unpack(post(RECORD, api_key=["s3cret"]), JSON).api_key is None


@pytest.mark.parametrize(
    ("status", "type_"),
    [("queued", "queued"), ("deferred", "deferred"), ("succeeded", "delivered"), ("failed", "failed")],
)
def test_every_status_of_deliveries_has_a_type(status: str, type_: str, context: Context) -> None:
    event = one(context, status=status)
    assert (event.type, event.provider_status) == (type_, status)
    assert (event.bounce_code, event.bounce_class, event.bounce_reason) == ("", "", "")


def test_no_other_status_of_deliveries_is_known() -> None:
    assert set(DELIVERIES) == {"queued", "deferred", "succeeded", "failed"}


def test_a_status_of_later_days_is_unknown_and_kept(context: Context) -> None:
    event = one(context, status="quarantined")
    assert (event.type, event.provider_status) == ("unknown", "quarantined")


@pytest.mark.parametrize("code", BOUNCES)
def test_every_code_of_bounces_has_a_class(code: str, context: Context) -> None:
    event = one(context, "bounces", status=code)
    assert (event.type, event.bounce_code, event.provider_status) == ("bounced", code, code)
    assert event.bounce_class in {"hard", "soft", "block", "policy", "undetermined"}
    assert event.bounce_reason


def test_a_code_of_later_days_is_as_99(context: Context) -> None:
    event = one(context, "bounces", status="57")
    assert (event.bounce_code, event.bounce_class, event.bounce_reason) == ("57", "undetermined", "other")


@pytest.mark.parametrize("address", ["email", "to", "address"])
@pytest.mark.parametrize("action", ["status", "event", "type", "action"])
def test_blocks_are_found_by_whatever_name(address: str, action: str, context: Context) -> None:
    record = {"created": "2023-01-26 03:00:00", address: "a@Example.JP", action: "deleted"}
    (event,) = harvest(post(record, kind="blocks"), JSON, context).events
    assert (event.type, event.provider_status, event.recipient) == ("unblocked", "deleted", "a@example.jp")


def test_the_action_of_a_block_is_found_behind_a_code(context: Context) -> None:
    record = {"created": "2023-01-26 03:00:00", "email": "a@example.jp", "status": "2", "event": "registered"}
    (event,) = harvest(post(record, kind="blocks"), JSON, context).events
    assert (event.type, event.provider_status) == ("blocked", "registered")


def test_a_block_without_an_address_is_put_aside(context: Context) -> None:
    record = {"messageId": "<1@x>", "status": "registered", "created": "2023-01-26 03:00:00"}
    (reject,) = harvest(post(record, kind="blocks"), JSON, context).rejects
    assert (reject.reason, "address" in reject.detail) == ("record_shape", True)


def test_a_block_with_an_unknown_action_is_unknown(context: Context) -> None:
    record = {"created": "2023-01-26 03:00:00", "email": "a@example.jp", "status": "2"}
    (event,) = harvest(post(record, kind="blocks"), JSON, context).events
    assert (event.type, event.provider_status) == ("unknown", "2")


def test_values_that_are_no_texts_become_texts(context: Context) -> None:
    event = one(context, "bounces", status=2, subject=None, apiData={"a": [1]}, reason=1.5)
    assert (event.bounce_code, event.bounce_reason) == ("2", "unknown_user")
    assert (event.subject, event.api_data, event.reason) == ("", '{"a":[1]}', "1.5")


def test_odd_characters_survive(context: Context) -> None:
    raw = post({**RECORD, "subject": "\x00 \u2028 \ud83d cut", "reason": "\x1f"})
    (event,) = harvest(raw, JSON, context).events
    assert event.subject == "\x00 \u2028 � cut"
    assert event.reason == "\x1f"


def test_equal_records_of_a_post_stay_apart_and_a_resend_makes_the_same(context: Context) -> None:
    raw = post(RECORD, RECORD, {**RECORD, "status": "deferred"}, RECORD)
    ids = [event.id for event in harvest(raw, JSON, context).events]
    assert len(set(ids)) == 4
    assert [event.id for event in harvest(raw, JSON, context).events] == ids
    assert {event.id for event in harvest(post(RECORD), JSON, context).events} <= set(ids)


def test_the_identity_is_made_of_the_words_of_the_provider(context: Context) -> None:
    event = one(context, reason="why", sourceIp="192.0.2.1", senderIp="192.0.2.2")
    words = ("cmc", "pro", "deliveries", "1@example.com", "user@example.jp", "queued", "2023-01-25 14:03:06")
    assert event.id == event_id((*words, "why", "192.0.2.1", "192.0.2.2"))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", Reason.BODY_UNREADABLE),
        (b"[]", Reason.BODY_SHAPE),
        (b'"text"', Reason.BODY_SHAPE),
        (b"{}", Reason.BODY_SHAPE),
        (b'{"event_type":["deliveries"]}', Reason.BODY_SHAPE),
        (b'{"event_type":' + b"[" * 1000 + b"]" * 1000 + b"}", Reason.BODY_SHAPE),
        (
            b'{"event_type":"bounces","event":{"bounces":[]},"server_composition":' + b"[" * 999 + b"]" * 999 + b"}",
            Reason.BODY_SHAPE,
        ),
        (b'{"event_type":"opens","event":{"opens":[]}}', Reason.BODY_SHAPE),
        (b'{"event_type":"bounces"}', Reason.BODY_SHAPE),
        (b'{"event_type":"bounces","event":{"deliveries":[]}}', Reason.BODY_SHAPE),
        (b'{"event_type":"bounces","event":{"bounces":{}}}', Reason.BODY_SHAPE),
        (b'{"event_type":"bounces","event":"{"}', Reason.BODY_UNREADABLE),
    ],
)
def test_bodies_of_another_form_are_refused_as_a_whole(raw: bytes, reason: Reason, context: Context) -> None:
    with pytest.raises(UnreadableError) as refused:
        harvest(raw, JSON, context)
    assert refused.value.reason == reason


def test_a_broken_field_of_a_form_is_named(context: Context) -> None:
    with pytest.raises(UnreadableError, match=r"^the field event is not JSON: "):
        harvest(b"event_type=bounces&event=%7B", "application/x-www-form-urlencoded", context)


def test_a_name_that_would_multiply_the_body_is_refused_as_a_whole(context: Context) -> None:
    long = "x" * COMPOSITION_LIMIT
    assert harvest(post(RECORD, server_composition=long), JSON, context).events[0].composition == long
    with pytest.raises(UnreadableError, match="server_composition has more than") as refused:
        harvest(post(RECORD, server_composition=long + "x"), JSON, context)
    assert refused.value.reason == Reason.BODY_SHAPE


def test_nesting_that_cannot_be_written_again_is_refused_as_a_whole(context: Context) -> None:
    deep = b"[" * 600 + b"]" * 600
    raw = post({**RECORD, "apiData": 0}).replace(b'"apiData": 0', b'"apiData": ' + deep)
    with pytest.raises(UnreadableError, match="deeply"):
        harvest(raw, JSON, context)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (1, Reason.RECORD_SHAPE),
        (None, Reason.RECORD_SHAPE),
        ({}, Reason.RECORD_SHAPE),
        ({**RECORD, "status": ""}, Reason.RECORD_SHAPE),
        ({**RECORD, "to": "", "messageId": ""}, Reason.RECORD_SHAPE),
        ({name: value for name, value in RECORD.items() if name != "created"}, Reason.RECORD_SHAPE),
        ({**RECORD, "created": ""}, Reason.RECORD_TIME),
        ({**RECORD, "created": None}, Reason.RECORD_TIME),
        ({**RECORD, "created": "2023-02-30 10:00:00"}, Reason.RECORD_TIME),
        ({**RECORD, "created": "0001-01-01 00:00:00"}, Reason.RECORD_TIME),
        ({**RECORD, "created": "yesterday"}, Reason.RECORD_TIME),
    ],
)
def test_a_bad_record_is_put_aside_alone_and_can_be_posted_again(
    record: object, reason: Reason, context: Context
) -> None:
    found = harvest(post(RECORD, record), JSON, context)
    assert len(found.events) == 1
    (reject,) = found.rejects
    assert reject.reason == reason
    assert reject.detail.startswith("record 1: ")
    again = harvest(reject.raw, JSON, context)
    assert (again.events, [other.reason for other in again.rejects]) == ([], [reason])


def test_a_message_id_alone_makes_an_event_and_so_does_an_address_alone(context: Context) -> None:
    assert one(context, to="").recipient == ""
    assert one(context, messageId="").message_id == ""


@pytest.mark.parametrize(
    "fields", [{"to": "x" * KEY_LIMIT}, {"messageId": "x" * KEY_LIMIT}, {"to": "a\x1fb"}, {"messageId": "<a\x1fb>"}]
)
def test_what_can_be_no_key_is_put_aside(fields: dict[str, str], context: Context) -> None:
    found = harvest(post({**RECORD, **fields}), JSON, context)
    assert [reject.reason for reject in found.rejects] == [Reason.RECORD_SHAPE]


def test_a_body_of_bad_records_is_kept_as_a_whole(context: Context) -> None:
    assert len(harvest(post(*[{}] * REJECTS_LIMIT, RECORD), JSON, context).rejects) == REJECTS_LIMIT
    with pytest.raises(UnreadableError, match="more than 1000 records") as refused:
        harvest(post(*[{}] * (REJECTS_LIMIT + 1), RECORD), JSON, context)
    assert refused.value.reason == Reason.RECORD_SHAPE
