from msgspec.structs import fields

from ingest.event import Event
from streams.contracts import events


def test_an_event_has_the_fields_of_the_contract_in_their_order() -> None:
    """It is made by position, and everybody behind ingest relies on what stands first."""
    assert [field.name for field in fields(Event)] == list(events.Event.__annotations__)
