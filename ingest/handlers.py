"""The endpoints: verify, read, accept."""

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ingest import reception
from ingest.alarms import Alarm
from ingest.authentication import Gate
from ingest.harvest import Context, Harvest, Provider
from ingest.holds import Hold
from ingest.intake import Intake
from ingest.metrics import IngestMetrics
from ingest.openapi import document
from ingest.problems import NotDurableError, SourceNotNamedError, UnknownSourceError, WrongSecretError
from ingest.providers import PROVIDERS
from ingest.settings import IngestSettings, ProviderName, SourceSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """Where the posts of one source come in."""

    name: str
    settings: SourceSettings
    gate: Gate


INTAKE = web.AppKey("intake", Intake)
DOORS: web.AppKey[Mapping[str, Door]] = web.AppKey("doors")
SETTINGS = web.AppKey("settings", IngestSettings)
METRICS = web.AppKey("metrics", IngestMetrics)
STRANGERS = web.AppKey("strangers", Alarm)
SOURCE = web.RequestKey("source", str)


async def webhook(request: web.Request) -> web.Response:
    """``POST /v1/webhooks/{source}``: a post in the form of the source's provider."""
    door = _door(request, request.match_info["source"])
    return await _take(request, door, door.settings.provider)


async def events(request: web.Request) -> web.Response:
    """``POST /v1/events``: events in todoke's own form."""
    doors = request.app[DOORS]
    name = request.query.get("source") or (next(iter(doors)) if len(doors) == 1 else None)
    if name is None:
        raise SourceNotNamedError(f"say which source the events are of: ?source= one of {', '.join(sorted(doors))}")
    return await _take(request, _door(request, name), ProviderName.GENERIC)


async def healthz(_: web.Request) -> web.Response:
    """``GET /healthz``: the process lives."""
    return _json({"result": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """``GET /readyz``: whether a post would be taken now."""
    is_ready, details = request.app[INTAKE].readiness()
    return _json(details, status=200 if is_ready else 503)


async def metrics(request: web.Request) -> web.Response:
    """``GET /metrics``: in Prometheus's text form."""
    text = generate_latest(request.app[METRICS].registry)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def openapi(_: web.Request) -> web.Response:
    """``GET /openapi.json``: these endpoints as OpenAPI."""
    return _json(document())


def _json(value: object, status: int = 200) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)  # a line of its own on a terminal
    return web.Response(status=status, body=body, content_type="application/json")


def _door(request: web.Request, name: str) -> Door:
    door = request.app[DOORS].get(name)
    if door is None:
        raise UnknownSourceError(f"there is no source {name[:63]!r}: check the URL, or configure [sources.{name[:63]}]")
    request[SOURCE] = name
    return door


async def _take(request: web.Request, door: Door, provider_name: ProviderName) -> web.Response:
    """Take one post.

    1. Verify the header, so that nobody's body is read who may not post, unless the secret may be in the body.
    2. Receive and read the body within its limits.
    3. Verify the secret in the body.
    4. Make it durable, and only then answer 200.
    """
    intake, provider = request.app[INTAKE], PROVIDERS[provider_name]
    # 1.
    is_verified = door.gate.passes_header(request.headers.get("Authorization"))
    if not is_verified and not (door.gate.takes_keys and provider.shows_key):
        raise _wrong_secret(request, door, provider)
    within = request.app[SETTINGS].answer_within
    with intake.enter(door.settings.durability) as hold:
        try:
            async with asyncio.timeout(within):
                # 2. and 3.
                harvest = await _read(request, door, provider, hold, is_verified=is_verified)
                # 4.
                durable = intake.send(door.name, door.settings, provider_name, harvest, hold)
                del harvest  # what was parsed takes many times the memory of its lines, and need not wait for Kafka
                accepted = await durable
        except TimeoutError as error:
            raise NotDurableError(
                f"the events were not durable within {within:g} s: send the same post again, nothing will count twice"
            ) from error
    told: dict[str, object] = {"result": "ok", "receipt": accepted.receipt, "accepted": accepted.accepted}
    if accepted.unreadable:
        told["unreadable"] = accepted.unreadable
    return _json(told)


async def _read(
    request: web.Request, door: Door, provider: Provider, hold: Hold, *, is_verified: bool
) -> Callable[[Context], Harvest]:
    """Receive and read a body, verify its secret unless that was done, and give what makes events of it."""
    body = await reception.receive(request, door.settings.max_body_bytes, provider, hold)
    if not is_verified and not door.gate.passes_key(body.api_key):
        raise _wrong_secret(request, door, provider, body.mistaken(provider))
    request.app[METRICS].body_bytes.labels(door.name).inc(body.size)
    return functools.partial(body.harvest, provider, door.settings.malformed)


def _wrong_secret(request: web.Request, door: Door, provider: Provider, mistake: str = "") -> WrongSecretError:
    request.app[STRANGERS].ring(door.name)
    expected = door.gate.expected(in_body=provider.shows_key)
    told = (
        f"the source {door.name} expects {expected}: see [sources.{door.name}]"
        if expected
        else f"the source {door.name} takes api_key in the body of its provider's posts alone: for events in todoke's "
        f"own form give [sources.{door.name}] bearer_tokens or basic, or name another source with ?source="
    )
    return WrongSecretError(f"{told}; {mistake}" if mistake else told, challenge=door.gate.challenge)
