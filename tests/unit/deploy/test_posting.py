import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from deploy.ports import free_port
from deploy.posting import EndpointUnreachableError, Form, Payload, Receipt, RefusedError, form_of, post, signed
from ingest.settings import SourceSettings
from streams.contracts.clock import SystemClock
from streams.contracts.errors import ConfigurationError

Answer = tuple[int, dict[str, str], dict[str, object]]
TAKEN: Answer = (200, {}, {"result": "ok", "receipt": "r1", "accepted": 2})


@asynccontextmanager
async def endpoint(*answers: Answer) -> AsyncIterator[str]:
    """Answer posts one after the other, the last answer for ever."""
    left = list(answers)

    async def answer(_: web.Request) -> web.Response:
        status, headers, content = left.pop(0) if len(left) > 1 else left[0]
        return web.json_response(content, status=status, headers=headers)

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def posted(url: str, patience: float = 10) -> Receipt:
    async with aiohttp.ClientSession() as session:
        return await post(session, url, b"{}", {}, patience=patience, clock=SystemClock())


async def test_a_post_that_cannot_be_taken_now_is_sent_again_when_the_endpoint_says_so() -> None:
    async with endpoint((503, {"Retry-After": "0"}, {"title": "later"}), TAKEN) as url:
        assert await posted(url) == Receipt(receipt="r1", accepted=2)


async def test_what_could_not_be_read_is_counted() -> None:
    async with endpoint((200, {}, {"result": "ok", "receipt": "r1", "accepted": 3, "unreadable": 1})) as url:
        assert await posted(url) == Receipt(receipt="r1", accepted=3, unreadable=1)


async def test_an_address_where_nothing_listens_is_named_plainly() -> None:
    port = free_port("127.0.0.1")
    with pytest.raises(EndpointUnreachableError, match=f"; nothing listens at http://127.0.0.1:{port}$"):
        await posted(f"http://127.0.0.1:{port}/v1/events", patience=0)


async def test_each_further_try_is_told() -> None:
    told: list[tuple[str, float]] = []
    async with (
        endpoint((503, {"Retry-After": "0"}, {"title": "later"}), TAKEN) as url,
        aiohttp.ClientSession() as session,
    ):
        await post(session, url, b"{}", {}, patience=10, clock=SystemClock(), again=lambda *words: told.append(words))

    assert told == [("it answered 503: later", 0.0)]


async def test_a_post_that_is_refused_is_not_sent_again() -> None:
    async with endpoint((401, {}, {"detail": "show a secret"}), TAKEN) as url:
        with pytest.raises(RefusedError, match="401 Unauthorized: show a secret"):
            await posted(url)


async def test_patience_ends() -> None:
    async with endpoint((503, {"Retry-After": "5"}, {"detail": "Kafka is away"})) as url:
        with pytest.raises(EndpointUnreachableError, match="503: Kafka is away"):
            await posted(url, patience=1)


async def test_an_answer_without_receipt_is_of_something_else() -> None:
    async with endpoint((200, {}, {"hello": "world"})) as url:
        with pytest.raises(RefusedError, match="no endpoint of todoke"):
            await posted(url)


@pytest.mark.parametrize(
    ("name", "body", "form"),
    [
        ("a.json", b"", Form.JSON),
        ("a.form", b"", Form.FORM),
        ("a.ndjson", b"", Form.NDJSON),
        ("", b' {"event_type": 1}', Form.JSON),
        ("", b"event_type=bounces", Form.FORM),
    ],
)
def test_the_form_of_a_payload(name: str, body: bytes, form: Form) -> None:
    assert form_of(name, body) is form


def test_an_unknown_form_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"\.json, \.form or \.ndjson"):
        form_of("a.txt", b"")


def test_secrets_are_shown_as_the_provider_shows_them() -> None:
    form = Payload(name="a", form=Form.FORM, body=b"event_type=bounces\n")
    source = SourceSettings(basic=(SecretStr("us:er"),), api_keys=(SecretStr("k&y"),))

    body, headers = signed(form, source)
    assert body == b"api_key=k%26y&event_type=bounces"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"us:er"

    body, headers = signed(
        Payload(name="a", form=Form.JSON, body=b'{"event_type": "bounces"}'),
        SourceSettings(bearer_tokens=(SecretStr("t"),), api_keys=(SecretStr("k"),)),
    )
    assert json.loads(body) == {"api_key": "k", "event_type": "bounces"}
    assert headers["Authorization"] == "Bearer t"


def test_the_sources_key_takes_the_place_of_a_recorded_one() -> None:
    source = SourceSettings.model_validate({"api_keys": ["new"]})
    form, _ = signed(Payload(name="a.form", form=Form.FORM, body=b"api_key=old&event_type=bounces"), source)
    assert form == b"api_key=new&event_type=bounces"
    content, _ = signed(Payload(name="a.json", form=Form.JSON, body=b'{"api_key":"old","event":{}}'), source)
    assert json.loads(content) == {"api_key": "new", "event": {}}
