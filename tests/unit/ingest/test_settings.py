from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from ingest.settings import (
    Batching,
    Durability,
    IngestSettings,
    ProviderName,
    SourceSettings,
    check,
    default_sources,
)
from streams.contracts.errors import ConfigurationError

LOCKED = SourceSettings(bearer_tokens=(SecretStr("t"),))


def test_the_defaults_fit_together() -> None:
    check(IngestSettings(), default_sources())
    assert default_sources()["cmc"].time_zone == "Asia/Tokyo"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_an_open_source_may_be_on_loopback(host: str) -> None:
    check(IngestSettings(host=host), default_sources())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])  # noqa: S104 - what is refused
def test_an_open_source_may_be_nowhere_else(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"sources\.cmc has no secret"):
        check(IngestSettings(host=host), {"cmc": SourceSettings(), "locked": LOCKED})
    check(IngestSettings(host=host), {"locked": LOCKED})


@pytest.mark.parametrize("name", ["", "-a", "A", "a.b", "a/b", "a" * 64, "あ", "a\n"])
def test_names_that_no_source_may_have(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a source's name is"):
        check(IngestSettings(), {name: LOCKED})


@pytest.mark.parametrize("name", ["a", "0", "cmc-pro_1", "a" * 63])
def test_names_that_a_source_may_have(name: str) -> None:
    check(IngestSettings(), {name: LOCKED})


def test_there_must_be_a_source() -> None:
    with pytest.raises(ConfigurationError, match="no source"):
        check(IngestSettings(), {})


def test_keys_of_a_body_are_no_secret_for_events_of_todokes_own_form() -> None:
    keys = (SecretStr("k"),)
    with pytest.raises(ConfigurationError, match=r"sources\.app has api_keys alone"):
        check(IngestSettings(), {"app": SourceSettings(provider=ProviderName.GENERIC, api_keys=keys)})
    both = SourceSettings(provider=ProviderName.GENERIC, api_keys=keys, bearer_tokens=(SecretStr("t"),))
    check(IngestSettings(), {"app": both, "cmc": SourceSettings(api_keys=keys)})


def test_a_post_that_could_never_be_taken_is_no_setting() -> None:
    with pytest.raises(ConfigurationError, match="max_bytes_in_flight"):
        check(IngestSettings(max_bytes_in_flight=2**20), {"cmc": LOCKED})


@pytest.mark.parametrize(
    "values",
    [
        {"basic": ["no colon"]},
        {"api_keys": [""]},
        {"bearer_tokens": [""]},
        {"time_zone": "Tokyo"},
        {"provider": "other"},
        {"malformed": "drop"},
        {"batching": {"max_events": 0}},
        {"surprise": 1},
    ],
)
def test_values_that_cannot_be_worked_with(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SourceSettings.model_validate(values)


def test_secrets_are_not_shown() -> None:
    settings = SourceSettings.model_validate({"basic": ["u:s3cret"], "api_keys": ["s3cret"]})
    assert "s3cret" not in repr(settings)
    assert not settings.is_open


def test_nothing_may_wait_longer_than_the_answer() -> None:
    slow = LOCKED.model_copy(update={"batching": Batching(interval=30)})
    with pytest.raises(ConfigurationError, match="answer_within = 20"):
        check(IngestSettings(), {"cmc": slow})
    check(IngestSettings(answer_within=60), {"cmc": slow})


def test_with_a_journal_nobody_waits_for_the_interval(tmp_path: Path) -> None:
    slow = LOCKED.model_copy(update={"batching": Batching(interval=600), "durability": Durability.JOURNAL})
    check(IngestSettings(journal=tmp_path), {"cmc": slow})
    with pytest.raises(ConfigurationError, match=r"durability = \"journal\" needs a folder .* set ingest\.journal"):
        check(IngestSettings(), {"cmc": slow})
