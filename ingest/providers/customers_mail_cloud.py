"""Customers Mail Cloud, https://smtps.jp/docs/userguide/api/webhook: event webhooks of versions 1 and 2.

A post holds records of one kind, its ``event_type``. Version 1 is always a form and calls the envelope's addresses
``envelopeFrom`` and ``envelopeTo``; version 2 may be JSON. Nothing in a post tells its version, and nothing needs to.
"""

import re
from collections.abc import Mapping
from typing import Any

from ingest.bodies import (
    API_KEY,
    UnreadableError,
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

_BLOCK_ADDRESS = ("email", "to", "address")
_BLOCK_ACTION = ("status", "event", "type", "action")
_FORM = re.compile(r"application/x-www-form-urlencoded\b", re.IGNORECASE)
_JSON = re.compile(r"application/(?:[\w.-]+\+)?json\b", re.IGNORECASE)
_MULTIPART = re.compile(r"multipart/form-data\b", re.IGNORECASE)


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
        content = read_json(raw)
        if not isinstance(content, dict) or API_KEY not in content:
            return Parcel(content=content, raw=raw)
        api_key = content.pop(API_KEY)
        return Parcel(content=content, api_key=api_key if isinstance(api_key, str) else None, raw=dump(content))

    def harvest(self, parcel: Parcel, context: Context) -> Harvest:
        """Make events of the records, which are all of one kind."""
        kind, composition, records = _opened(parcel.content)
        context.check_count(records)
        reading = _Reading(kind, composition, context)
        harvest = Harvest()
        for number, record in enumerate(records):
            try:
                harvest.events.append(reading.event(record))
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
        event = read_json(event if isinstance(event, bytes) else event.encode())
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

    def event(self, record: object) -> Event:
        """Make an event of a record.

        Raises:
            AsideError: it makes none.
        """
        fields = texts(record)
        get = fields.get
        message_id = identity.message_id(get("messageId", ""))
        if self._is_block:
            status, to = _action(fields), next((fields[name] for name in _BLOCK_ADDRESS if get(name)), "")
        else:
            status, to = get("status", ""), get("to") or get("envelopeTo", "")
        recipient = identity.recipient(to)
        created = get("created")
        if self._is_block and not recipient:
            raise AsideError(Reason.RECORD_SHAPE, "it does not say which address")
        if created is None or not status:
            raise AsideError(Reason.RECORD_SHAPE, "it has no status or no created")
        check_key(message_id, recipient)
        occurred_at = self._times.read(created)
        if occurred_at is None:
            raise AsideError(Reason.RECORD_TIME, f"created is {created[:60]!r}, no time like 2023-01-25 14:03:06")
        context = self._context
        source, composition = context.source, self._composition
        reason, source_ip, sender_ip = get("reason", ""), get("sourceIp", ""), get("senderIp", "")
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
            get("from", ""),
            get("returnPath") or get("envelopeFrom", ""),
            get("subject", ""),
            reason,
            get("apiData", ""),
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


def _action(fields: Mapping[str, str]) -> str:
    """Find what happened to a blocked address. No published record shows its field: all likely ones are looked at."""
    given = [fields[name] for name in _BLOCK_ACTION if fields.get(name)]
    return next((word for word in given if word in BLOCKS), given[0] if given else "")
