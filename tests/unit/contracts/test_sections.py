"""Keys are read off a line without parsing it: whatever stands in the values."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from streams import lifecycle
from streams.contracts.sections import event_id, event_key, lifecycle_key, public_lifecycle
from streams.lifecycle import Lifecycle
from tests.chunks import make_event

HOSTILE = (
    st.sampled_from(
        ('","message_id":"', '","recipient":"', '","state":"', ',"~":', "\\", '"', "\n", "\x00", "件名", "")
    )
    | st.text(st.characters(exclude_categories=["Cs"]))  # lone surrogates do not pass ingest
).map(lambda text: text.replace("\x1f", ""))


@given(message_id=HOSTILE, recipient=HOSTILE, status=HOSTILE)
def test_the_key_of_an_event_is_its_message_id(message_id: str, recipient: str, status: str) -> None:
    event = make_event(message_id=message_id, recipient=recipient, provider_status=status, subject=status)
    line = orjson.dumps(event)
    assert event_key(line) == message_id.encode()
    assert event_id(line) == event["id"].encode()


@given(message_id=HOSTILE, recipient=HOSTILE, subject=HOSTILE)
def test_the_key_of_a_lifecycle_is_its_name(message_id: str, recipient: str, subject: str) -> None:
    line = lifecycle.render(Lifecycle("cmc", message_id, recipient, subject=subject))
    assert lifecycle_key(line).decode() == lifecycle.key("cmc", message_id, recipient)
    assert lifecycle_key(public_lifecycle(line)) == lifecycle_key(line)
