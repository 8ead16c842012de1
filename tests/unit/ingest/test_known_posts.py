"""Posts of Customers Mail Cloud that hold nothing unknown are read at once; what comes of them is the same either way.

A member that nobody knows has any post read record by record, and changes nothing else: that is the comparison.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields

from ingest.bodies import SMALL, OverLimitError, UnreadableError
from ingest.harvest import Context, Harvest
from ingest.providers.customers_mail_cloud import KINDS, CustomersMailCloud, KnownBody, Record
from streams.contracts.dead_letter import Reason
from tests.traffic.wire import FORM, JSON, body

PAYLOADS = Path(__file__).parents[2] / "payloads" / "customers-mail-cloud"
CMC = CustomersMailCloud()
NAMES = sorted(field.encode_name for field in fields(Record))
UNKNOWN = b'{"later":0,'

texts = st.text() | st.sampled_from(["", " ", "queued", "2", "deleted", "<1@x>", "a@B.jp", "2023-01-25 14:03:06"])
odd = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.lists(texts, max_size=2)
good_records = st.dictionaries(st.sampled_from(NAMES), texts).map(
    lambda fields: {**fields, "created": "2023-01-25 14:03:06", "status": "queued", "email": "a@b", "to": "a@b"}
)
any_records = good_records | st.dictionaries(st.sampled_from([*NAMES, "later"]), texts | odd) | odd
envelopes: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries(
    {}, optional={"server_composition": texts | odd, "event_type": odd, "event": odd}
)
cuts = st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 3),
    st.binary(max_size=2)
    | st.sampled_from([b"\\ud83d", b"\\u0000", b"\xed\xa0\x80", b'"', b"\\", b"\x1f", b"}", b"[,"]),
)


def payloads() -> list[Path]:
    return sorted(path for path in PAYLOADS.glob("*.json") if not path.name.endswith(".events.json"))


def outcome(raw: bytes, content_type: str, context: Context) -> Harvest | Reason:
    try:
        return CMC.harvest(CMC.unpack(raw, content_type), context)
    except UnreadableError as error:
        return error.reason


def mangled(text: bytes, places: Iterable[tuple[float, int, bytes]]) -> bytes:
    """Put something else in some places of a text, behind its first byte."""
    for where, length, put in places:
        at = 1 + int(where * (len(text) - 1))
        text = text[:at] + put + text[at + length :]
    return text


@st.composite
def posts(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """Draw a kind, a post of it in JSON, and the text that would be ``event`` in a form."""
    kind = draw(st.sampled_from([*KINDS, "opens"]))
    event = {kind: draw(st.lists(good_records, max_size=4) | st.lists(any_records, max_size=4))}
    post = {"event_type": kind, "server_composition": "pro", "event": event, **draw(envelopes)}
    is_ascii, places = draw(st.booleans()), draw(st.just([]) | st.lists(cuts, min_size=1, max_size=2))
    raw, text = (mangled(json.dumps(value, ensure_ascii=is_ascii).encode(), places) for value in (post, event))
    return kind, raw, text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the context never changes
@given(posts())
def test_a_post_makes_the_same_read_at_once_and_record_by_record(
    context: Context, drawn: tuple[str, bytes, bytes]
) -> None:
    kind, *bodies = drawn
    (raw, again), (text, text_again) = ((known, known.replace(b"{", UNKNOWN, 1)) for known in bodies)
    assert outcome(raw, JSON, context) == outcome(again, JSON, context)
    form, form_again = (urlencode({"event_type": kind, "event": event}).encode() for event in (text, text_again))
    assert outcome(form, FORM, context) == outcome(form_again, FORM, context)


@pytest.mark.parametrize("content_type", [JSON, FORM])
def test_limits_hold_for_posts_that_are_read_at_once(content_type: str, context: Context) -> None:
    raw = body("deliveries", [{"created": "2023-01-25 14:03:06"}] * 3, composition="pro", content_type=content_type)
    with pytest.raises(OverLimitError):
        CMC.harvest(CMC.unpack(raw, content_type), replace(context, max_events=2))
    dense = b'{"event_type":"deliveries","event":{"deliveries":[' + b"{}," * SMALL + b"{}]}}"
    with pytest.raises(UnreadableError, match="more values than bytes"):
        CMC.unpack(dense, JSON)


@pytest.mark.parametrize("path", payloads(), ids=lambda path: path.name)
def test_every_recorded_payload_of_json_is_read_at_once(path: Path) -> None:
    """Nothing would tell otherwise but the time that it takes."""
    assert isinstance(CMC.unpack(path.read_bytes(), JSON).content, KnownBody)
