import orjson
import pytest
from msgspec.structs import asdict

from ingest.bodies import UnreadableError
from ingest.event import Event
from ingest.harvest import Context, Harvest
from ingest.providers.generic import Generic
from streams.contracts.dead_letter import Reason
from streams.contracts.identity import event_id

JSON = "application/json"
EVENT = {"type": "delivered", "occurred_at": "2023-01-25T14:03:06+09:00", "message_id": "<1@example.com>"}
LINES = ["application/x-ndjson", "application/ndjson", "application/jsonl", "text/x-ndjson; charset=utf-8"]


def harvest(raw: bytes, context: Context, content_type: str = JSON) -> Harvest:
    generic = Generic()
    return generic.harvest(generic.unpack(raw, content_type), context)


def one(context: Context, **fields: object) -> Event:
    (event,) = harvest(orjson.dumps({**EVENT, **fields}), context).events
    return event


def test_the_least_event(context: Context) -> None:
    event = one(context)
    assert event.occurred_at == "2023-01-25T05:03:06.000Z"
    assert event.occurred_raw == "2023-01-25T14:03:06+09:00"
    assert (event.type, event.message_id, event.provider_status) == ("delivered", "1@example.com", "")


def test_an_array_an_object_and_lines_make_the_same(context: Context) -> None:
    both = [EVENT, {**EVENT, "recipient": "a@Example.JP"}]
    events = harvest(orjson.dumps(both), context).events
    assert [event.recipient for event in events] == ["", "a@example.jp"]
    for content_type in LINES:
        raw = b"\r\n".join(orjson.dumps(event) for event in both) + b"\n\n"
        assert harvest(raw, context, content_type).events == events
    assert harvest(orjson.dumps(EVENT), context).events == events[:1]


def test_one_bad_line_spoils_no_other(context: Context) -> None:
    raw = orjson.dumps(EVENT) + b"\n{broken\n[1]\n" + orjson.dumps({**EVENT, "type": "queued"})
    found = harvest(raw, context, LINES[0])
    assert [event.type for event in found.events] == ["delivered", "queued"]
    assert [(reject.reason, reject.raw) for reject in found.rejects] == [
        (Reason.RECORD_SHAPE, b"{broken"),
        (Reason.RECORD_SHAPE, b"[1]"),
    ]


def test_lines_whose_ends_were_taken_out_are_told_how_to_keep_them(context: Context) -> None:
    joined, broken = orjson.dumps(EVENT) * 2, b'{"type":'
    details = [reject.detail for reject in harvest(joined + b"\n" + broken, context, LINES[0]).rejects]

    assert "several events in one line: send each in its own (curl needs --data-binary)" in details[0]
    assert "several events" not in details[1]


def test_a_line_nested_beyond_measure_spoils_no_other(context: Context) -> None:
    deep = orjson.dumps({**EVENT, "reason": 0}).replace(b'"reason":0', b'"reason":' + b"[" * 400 + b"]" * 400)
    found = harvest(deep + b"\n" + orjson.dumps(EVENT), context, LINES[0])
    assert [event.type for event in found.events] == ["delivered"]
    assert [(reject.reason, reject.raw) for reject in found.rejects] == [(Reason.RECORD_SHAPE, deep)]


def test_a_sender_that_names_its_events_is_believed(context: Context) -> None:
    event = one(context, id="order-7/1")
    assert event.id == event_id(("cmc", "id", "order-7/1", "1@example.com", "", "delivered"))
    assert one(context, id="order-7/1", subject="changed").id == event.id
    assert one(context, id=7).id == one(context, id="7").id


def test_letters_of_a_time_may_be_small(context: Context) -> None:
    assert one(context, occurred_at="2023-01-25t05:03:06z").occurred_at == "2023-01-25T05:03:06.000Z"


@pytest.mark.parametrize("other", [{"message_id": "2@example.com"}, {"recipient": "a@example.jp"}, {"type": "opened"}])
def test_a_name_is_that_of_one_mails_event_alone(context: Context, other: dict[str, str]) -> None:
    assert one(context, id="1", **other).id != one(context, id="1").id


def test_equal_events_without_an_id_stay_apart(context: Context) -> None:
    ids = [event.id for event in harvest(orjson.dumps([EVENT, EVENT]), context).events]
    assert len(set(ids)) == 2


def test_every_field_is_taken(context: Context) -> None:
    given = {
        name: f"{name}-value"
        for name in ("sender", "return_path", "subject", "reason", "api_data", "source_ip", "sender_ip", "composition")
    }
    bounce = {"bounce_code": "5.1.1", "bounce_class": "hard", "bounce_reason": "unknown_user", "provider": "own"}
    event = one(context, **given, **bounce, provider_status="word", extra="ignored", receipt="forged", source="forged")
    assert {name: value for name, value in asdict(event).items() if name in given | bounce} == given | bounce
    assert event.provider_status == "word"
    assert (event.source, event.receipt) == ("cmc", context.receipt)


def test_a_type_that_is_not_known_is_kept_as_status(context: Context) -> None:
    event = one(context, type="opened", provider_status="x")
    assert (event.type, event.provider_status) == ("unknown", "opened")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": ""}, Reason.RECORD_SHAPE),
        ({"message_id": ""}, Reason.RECORD_SHAPE),
        ({"occurred_at": "2023-01-25T14:03:06"}, Reason.RECORD_TIME),
        ({"occurred_at": "2023-01-25"}, Reason.RECORD_TIME),
        ({"occurred_at": ""}, Reason.RECORD_TIME),
    ],
)
def test_what_makes_no_event_is_put_aside(fields: dict[str, str], reason: Reason, context: Context) -> None:
    found = harvest(orjson.dumps([EVENT, {**EVENT, **fields}]), context)
    assert [reject.reason for reject in found.rejects] == [reason]
    assert orjson.loads(found.rejects[0].raw) == {**EVENT, **fields}
    assert len(found.events) == 1


def test_what_is_no_json_is_refused(context: Context) -> None:
    with pytest.raises(UnreadableError):
        harvest(b"{", context)
