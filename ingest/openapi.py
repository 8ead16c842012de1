"""The endpoints as an OpenAPI 3.1 document, for tools and for people who write senders."""

from http import HTTPStatus
from typing import Any

from ingest.problems import CONTENT_TYPE
from streams.contracts.events import Event, EventType

TEXT = {"type": "string"}
REQUIRED = ("type", "occurred_at")
MADE_HERE = frozenset({"source", "received_at", "receipt", "occurred_raw"})
"""Fields of an event that its sender does not give."""


def document() -> dict[str, Any]:
    """Describe every endpoint."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "todoke ingest", "version": "1", "description": "Takes mail events in."},
        "paths": {
            "/v1/webhooks/{source}": {"post": _webhook()},
            "/v1/events": {"post": _events()},
            "/healthz": {"get": _probe("The process lives")},
            "/readyz": {"get": _probe("Whether a post would be taken now") | {"responses": _answers(200, 503)}},
            "/metrics": {"get": _probe("Metrics in Prometheus's text form")},
            "/openapi.json": {"get": _probe("This document")},
        },
        "components": {
            "schemas": {"Accepted": _ACCEPTED, "Problem": _PROBLEM, "Event": _event()},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


_ACCEPTED = {
    "type": "object",
    "description": "Everything that the post held is durable.",
    "required": ["result", "receipt", "accepted"],
    "properties": {
        "result": {"const": "ok"},
        "receipt": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "accepted": {"type": "integer", "minimum": 0, "description": "events and dead letters"},
        "unreadable": {"type": "integer", "minimum": 1, "description": "dead letters among them, where there are any"},
    },
}

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "properties": {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT},
}


def _event() -> dict[str, Any]:
    """Describe the own form of events: the fields of what comes out, most of them optional."""
    properties: dict[str, Any] = {name: TEXT for name in Event.__annotations__ if name not in MADE_HERE}
    known = ", ".join(kind for kind in EventType if kind is not EventType.UNKNOWN)
    properties["type"] = {"type": "string", "description": f"{known}; other words are kept as unknown"}
    properties["id"] = {
        "type": "string",
        "description": "the sender's own: counts once for a mail and a type",
    }
    properties["occurred_at"] = {"type": "string", "format": "date-time"}
    return {
        "type": "object",
        "required": list(REQUIRED),
        "anyOf": [{"required": ["message_id"]}, {"required": ["recipient"]}],
        "properties": properties,
    }


def _webhook() -> dict[str, Any]:
    anything = {"schema": {"type": "object"}}
    return {
        "summary": "A post in the form of the source's provider",
        "parameters": [{"name": "source", "in": "path", "required": True, "schema": TEXT}],
        "requestBody": {
            "content": {
                "application/json": anything,
                "application/x-www-form-urlencoded": anything,
                "multipart/form-data": anything,
            }
        },
        **_POST,
    }


def _events() -> dict[str, Any]:
    event = {"$ref": "#/components/schemas/Event"}
    return {
        "summary": "Events in todoke's own form",
        "parameters": [
            {"name": "source", "in": "query", "schema": TEXT, "description": "needed where there are several sources"}
        ],
        "requestBody": {
            "content": {
                "application/json": {"schema": {"oneOf": [{"type": "array", "items": event}, event]}},
                "application/x-ndjson": {"schema": event},
            }
        },
        **_POST,
    }


def _probe(summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": _answers(200)}


def _answers(*statuses: int) -> dict[str, Any]:
    return {str(status): {"description": HTTPStatus(status).phrase} for status in statuses}


def _problem(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


_POST: dict[str, Any] = {
    "security": [{}, {"basic": []}, {"bearer": []}],
    "responses": {
        "200": {
            "description": "durable",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}},
        },
        "400": _problem("cannot be read, where the source wants to be told"),
        "401": _problem("no valid secret"),
        "404": _problem("no such source"),
        "413": _problem("too large"),
        "415": _problem("compressed in an unknown way"),
        "503": _problem("not now: the same post again after Retry-After"),
    },
}
