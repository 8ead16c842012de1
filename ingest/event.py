"""An event on its way into a chunk."""

import msgspec


class Event(msgspec.Struct, gc=False):
    """The fields of `streams.contracts.events.Event`, in the order in which they are written.

    Made by position: of a dict, or of a structure made by name, the making and writing takes three times as long.
    """

    id: str
    source: str
    provider: str
    composition: str
    type: str
    provider_status: str
    message_id: str
    recipient: str
    sender: str
    return_path: str
    subject: str
    reason: str
    api_data: str
    source_ip: str
    sender_ip: str
    bounce_code: str
    bounce_class: str
    bounce_reason: str
    occurred_at: str
    occurred_raw: str
    received_at: str
    receipt: str
