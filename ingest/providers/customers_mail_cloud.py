"""Customers Mail Cloud, https://smtps.jp/docs/userguide/api/webhook: event webhooks of versions 1 and 2.

A post holds records of one kind, its ``event_type``. Version 1 is always a form and calls the envelope's addresses
``envelopeFrom`` and ``envelopeTo``; version 2 may be JSON. Nothing in a post tells its version, and nothing needs to.
"""

import contextlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ingest.bodies import (
    API_KEY,
    UnreadableError,
    read_exactly,
    read_form,
    read_json,
    read_multipart,
    without_form_key,
    without_part_key,
)
from ingest.event import Event
from ingest.harvest import AsideError, Context, Harvest, Identities, Parcel, Reject, Times, check_key, dump, text, texts
from streams.contracts import identity
from streams.contracts.dead_letter import Reason
from streams.contracts.events import EventType

Meaning = tuple[EventType, str, str]
"""What a status means: type, class of bounce, reason of bounce."""

UNKNOWN: Meaning = (EventType.UNKNOWN, "", "")

DELIVERIES: Mapping[str, Meaning] = {
    "queued": (EventType.QUEUED, "", ""),
    "deferred": (EventType.DEFERRED, "", ""),
    "succeeded": (EventType.DELIVERED, "", ""),
    "failed": (EventType.FAILED, "", ""),
}
"""Status of ``deliveries``."""

UNDETERMINED: Meaning = (EventType.BOUNCED, "undetermined", "other")

BOUNCES: Mapping[str, Meaning] = {
    "1": (EventType.BOUNCED, "hard", "unknown_host"),
    "2": (EventType.BOUNCED, "hard", "unknown_user"),
    "3": (EventType.BOUNCED, "soft", "resend_timeout"),
    "4": (EventType.BOUNCED, "policy", "rejected"),
    "5": (EventType.BOUNCED, "soft", "mailbox_full"),
    "6": (EventType.BOUNCED, "undetermined", "forwarding_error"),
    "7": (EventType.BOUNCED, "soft", "server_error"),
    "8": (EventType.BOUNCED, "soft", "message_too_large"),
    "9": (EventType.BOUNCED, "hard", "invalid_address"),
    "10": (EventType.BOUNCED, "block", "blocked_address"),
    "11": (EventType.BOUNCED, "block", "unsubscribed"),
    "99": UNDETERMINED,
}
"""Status of ``bounces``: the codes of the API's Bounces page. Codes of later days are as 99."""

BLOCKS: Mapping[str, Meaning] = {
    "registered": (EventType.BLOCKED, "", ""),
    "deleted": (EventType.UNBLOCKED, "", ""),
}
"""What happened to an address in ``blocks``."""

KINDS: Mapping[str, tuple[Mapping[str, Meaning], Meaning]] = {
    "deliveries": (DELIVERIES, UNKNOWN),
    "bounces": (BOUNCES, UNDETERMINED),
    "blocks": (BLOCKS, UNKNOWN),
}
"""The meanings of each kind, and what a status means that is not among them."""

COMPOSITION_LIMIT = 255
"""Characters that the name of a server configuration may have: each event repeats it, so it would multiply the body."""

_FORM = re.compile(r"application/x-www-form-urlencoded\b", re.IGNORECASE)
_JSON = re.compile(r"application/(?:[\w.-]+\+)?json\b", re.IGNORECASE)
_MULTIPART = re.compile(r"multipart/form-data\b", re.IGNORECASE)


class Record(msgspec.Struct, gc=False):
    """The fields of a record that are looked at, of every kind and version."""

    message_id: str = msgspec.field(default="", name="messageId")
    sender: str = msgspec.field(default="", name="from")
    to: str = ""
    return_path: str = msgspec.field(default="", name="returnPath")
    subject: str = ""
    api_data: str = msgspec.field(default="", name="apiData")
    source_ip: str = msgspec.field(default="", name="sourceIp")
    sender_ip: str = msgspec.field(default="", name="senderIp")
    created: str | None = None
    status: str = ""
    reason: str = ""
    envelope_from: str = msgspec.field(default="", name="envelopeFrom")
    envelope_to: str = msgspec.field(default="", name="envelopeTo")
    email: str = ""
    address: str = ""
    event: str = ""
    type: str = ""
    action: str = ""


class KnownRecord(Record, gc=False, forbid_unknown_fields=True):
    """A record of nothing else."""


class KnownEvent(msgspec.Struct, forbid_unknown_fields=True):
    """``event``, its records all known."""

    deliveries: list[KnownRecord] | None = None
    bounces: list[KnownRecord] | None = None
    blocks: list[KnownRecord] | None = None


class KnownBody(msgspec.Struct, forbid_unknown_fields=True):
    """A body of JSON that shows no key, its records all known."""

    event_type: str
    event: KnownEvent
    server_composition: str = ""


_EVENT = msgspec.json.Decoder(KnownEvent)
_BODY = msgspec.json.Decoder(KnownBody)


class CustomersMailCloud:
    """The form of Customers Mail Cloud's posts."""

    shows_key = True

    def unpack(self, raw: bytes, content_type: str) -> Parcel:
        """Read a body: JSON or a form, in which ``event`` is JSON text; where the type says neither, by its looks."""
        if _MULTIPART.match(content_type):
            parts = read_multipart(raw, content_type)
            return _of_parameters(parts, without_part_key(raw, content_type) if API_KEY in parts else raw)
        is_json = _JSON.match(content_type) or (not _FORM.match(content_type) and raw.lstrip()[:1] in (b"{", b"["))
        if not is_json:
            parameters = read_form(raw)
            return _of_parameters(parameters, without_form_key(raw) if API_KEY in parameters else raw)
        if (known := read_exactly(raw, _BODY)) is not None:
            return Parcel(content=known, raw=raw)
        content = read_json(raw)
        if not isinstance(content, dict) or API_KEY not in content:
            return Parcel(content=content, raw=raw)
        api_key = content.pop(API_KEY)
        return Parcel(content=content, api_key=api_key if isinstance(api_key, str) else None, raw=dump(content))

    def mistaken(self, raw: bytes, content_type: str) -> str:
        """Recognise JSON that was announced as a form, as curl does by itself."""
        announced = _FORM.match(content_type)
        if announced is None or not raw.lstrip().startswith(b"{"):
            return ""
        return (
            f"the body looks like JSON and was read as a form, since its Content-Type is {announced[0]}: "
            "send Content-Type: application/json"
        )

    def harvest(self, parcel: Parcel, context: Context) -> Harvest:
        """Make events of the records, which are all of one kind.

        Nearly all posts hold nothing but what is known, and each record makes an event: these are read at once. Where
        anything is otherwise, the post is read again record by record, so that what makes no event is kept as it came.
        """
        content = parcel.content
        if (known := _known(content)) is not None:
            kind, composition, records = known
            context.check_count(records)
            reading = _Reading(kind, composition, context)
            with contextlib.suppress(AsideError):
                return Harvest([reading.event(record) for record in records])
        if isinstance(content, KnownBody):
            content = read_json(parcel.raw)
        return _harvest_one_by_one(content, context)


def _harvest_one_by_one(content: Any, context: Context) -> Harvest:
    kind, composition, records = _opened(content)
    context.check_count(records)
    reading = _Reading(kind, composition, context)
    harvest = Harvest()
    for number, record in enumerate(records):
        try:
            harvest.events.append(reading.event(msgspec.convert(texts(record), Record)))
        except AsideError as aside:
            post = {"event_type": kind, "server_composition": composition, "event": {kind: [record]}}
            harvest.put_aside(Reject(aside.reason, f"record {number}: {aside}", dump(post)))
    return harvest


def _of_parameters(parameters: Mapping[str, bytes], raw: bytes) -> Parcel:
    """Take the parameters of a form for the keys of the JSON that the provider would have sent instead.

    Args:
        parameters: of the form.
        raw: the body without any key.
    """
    content: dict[str, Any] = {
        name: value.decode("utf-8", "replace") for name, value in parameters.items() if name != "event"
    }
    api_key = content.pop(API_KEY, None)
    if "event" in parameters:
        content["event"] = parameters["event"]
    return Parcel(content=content, api_key=api_key, raw=raw)


def _known(content: Any) -> tuple[str, str, list[KnownRecord]] | None:
    """Take the envelope apart as `_opened` does, if there is nothing in it but what is known."""
    event: KnownEvent | None
    match content:
        case KnownBody():
            kind, composition, event = content.event_type, content.server_composition, content.event
        case {"event_type": str(kind), "event": bytes(raw)}:
            composition, event = content.get("server_composition", ""), read_exactly(raw, _EVENT)
        case _:
            return None
    if event is None or kind not in KINDS or len(composition) > COMPOSITION_LIMIT:
        return None
    records = getattr(event, kind)
    return None if records is None else (kind, composition, records)


def _opened(content: Any) -> tuple[str, str, list[Any]]:
    """Take the envelope apart: kind, server composition, records."""
    if not isinstance(content, dict):
        raise UnreadableError("the body is no object with event_type and event", Reason.BODY_SHAPE)
    kind = content.get("event_type")
    if not isinstance(kind, str):
        raise UnreadableError("event_type is missing or no text", Reason.BODY_SHAPE)
    if kind not in KINDS:
        raise UnreadableError(f"event_type is {kind[:60]!r}, which is none of {', '.join(KINDS)}", Reason.BODY_SHAPE)
    event = content.get("event")
    if isinstance(event, bytes | str):
        try:
            event = read_json(event if isinstance(event, bytes) else event.encode())
        except UnreadableError as error:
            raise UnreadableError(str(error).replace("the body", "the field event"), error.reason) from error
    records = event.get(kind) if isinstance(event, dict) else None
    if not isinstance(records, list):
        raise UnreadableError(f"event holds no array {kind!r}", Reason.BODY_SHAPE)
    composition = text(content.get("server_composition"))
    if len(composition) > COMPOSITION_LIMIT:
        raise UnreadableError(f"server_composition has more than {COMPOSITION_LIMIT} characters", Reason.BODY_SHAPE)
    return kind, composition, records


class _Reading:
    """Makes events of the records of one post."""

    def __init__(self, kind: str, composition: str, context: Context) -> None:
        self._kind = kind
        self._composition = composition
        self._context = context
        self._meanings, self._otherwise = KINDS[kind]
        self._is_block, self._is_bounce = kind == "blocks", kind == "bounces"
        self._times = Times(context.zone)
        self._identities = Identities()

    def event(self, record: Record) -> Event:
        """Make an event of a record.

        Raises:
            AsideError: it makes none.
        """
        message_id = identity.message_id(record.message_id)
        if self._is_block:
            status, to = _action(record), record.email or record.to or record.address
        else:
            status, to = record.status, record.to or record.envelope_to
        recipient = identity.recipient(to)
        created = record.created
        if self._is_block and not recipient:
            raise AsideError(Reason.RECORD_SHAPE, "it does not say which address")
        if created is None or not status:
            raise AsideError(Reason.RECORD_SHAPE, f"it has no {'created' if status else 'status'}")
        check_key(message_id, recipient)
        occurred_at = self._times.read(created)
        if occurred_at is None:
            raise AsideError(Reason.RECORD_TIME, f"created is {created[:60]!r}, no time like 2023-01-25 14:03:06")
        context = self._context
        source, composition = context.source, self._composition
        reason, source_ip, sender_ip = record.reason, record.source_ip, record.sender_ip
        type_, bounce_class, bounce_reason = self._meanings.get(status, self._otherwise)
        words = (source, composition, self._kind, message_id, recipient, status, created, reason, source_ip, sender_ip)
        return Event(
            self._identities.draw(words),
            source,
            context.provider,
            composition,
            type_,
            status,
            message_id,
            recipient,
            record.sender,
            record.return_path or record.envelope_from,
            record.subject,
            reason,
            record.api_data,
            source_ip,
            sender_ip,
            status if self._is_bounce else "",
            bounce_class,
            bounce_reason,
            occurred_at,
            created,
            context.received_at,
            context.receipt,
        )


def _action(record: Record) -> str:
    """Find what happened to a blocked address. No published record shows its field: all likely ones are looked at."""
    given = [word for word in (record.status, record.event, record.type, record.action) if word]
    return next((word for word in given if word in BLOCKS), given[0] if given else "")
