from base64 import b64encode

import pytest
from pydantic import SecretStr

from ingest.authentication import Gate
from ingest.settings import SourceSettings


def gate(basic: tuple[str, ...] = (), api_keys: tuple[str, ...] = (), bearer_tokens: tuple[str, ...] = ()) -> Gate:
    return Gate(
        SourceSettings(
            basic=tuple(map(SecretStr, basic)),
            api_keys=tuple(map(SecretStr, api_keys)),
            bearer_tokens=tuple(map(SecretStr, bearer_tokens)),
        )
    )


def basic(credentials: str) -> str:
    return "Basic " + b64encode(credentials.encode()).decode()


def test_without_secrets_everybody_passes() -> None:
    assert gate().passes_header(None)
    assert gate().passes_header("Basic nonsense")


def test_several_credentials_are_valid_at_once() -> None:
    both = gate(basic=("user:old", "user:new:with colon", "メール:パス"))
    for credentials in ("user:old", "user:new:with colon", "メール:パス"):
        assert both.passes_header(basic(credentials))
    assert both.passes_header(basic("user:old").replace("Basic", "bASIC"))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic \udcff",
        "Bearer user:old",
        "Digest x",
        basic("user"),
        basic("user:"),
        basic("user:ol"),
        basic("user:oldd"),
    ],
)
def test_wrong_credentials(authorization: str | None) -> None:
    assert not gate(basic=("user:old",)).passes_header(authorization)


def test_bearer() -> None:
    both = gate(bearer_tokens=("t1", "t2"))
    assert both.passes_header("Bearer t1")
    assert both.passes_header("bearer  t2 ")
    assert not both.passes_header("Bearer t3")
    assert not both.passes_header("Bearer \udcff")
    assert not both.passes_header("t1")


def test_key_in_the_body() -> None:
    both = gate(api_keys=("k1", "k2"))
    assert both.takes_keys
    assert both.passes_key("k1")
    assert both.passes_key("k2")
    assert not both.passes_key("k3")
    assert not both.passes_key("")
    assert not both.passes_key(None)
    assert not both.passes_header(None)
    assert not gate(basic=("a:b",)).takes_keys


def test_the_challenge_names_every_way_there_is() -> None:
    assert gate(basic=("a:b",)).challenge == 'Basic realm="todoke", charset="UTF-8"'
    every = gate(basic=("a:b",), api_keys=("k",), bearer_tokens=("t",)).challenge
    assert [part.split()[0] for part in every.split(", ") if "realm" in part] == ["Basic", "Bearer", "ApiKey"]
