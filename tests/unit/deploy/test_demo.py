import re
from typing import Any

import pytest

from deploy.commands.up import event_paths
from deploy.demo import OWN_EVENT, lifecycles_table, post_one
from deploy.settings import Settings
from deploy.table import width
from ingest.harvest import Context
from ingest.providers import PROVIDERS
from ingest.settings import ProviderName, SourceSettings

BOUNCED = {
    "source": "shop",
    "recipient": "no-user@example.jp",
    "state": "bounced",
    "queued": None,
    "delivered": None,
    "failed": "2023-01-25 05:06:06",
    "bounced": "2023-01-25 05:06:07",
    "delivery_seconds": None,
    "subject": "メールマガジンのテスト",
    "reason": "550 5.1.1 The email account that you tried to reach does not exist",
}
QUEUED = {**BOUNCED, "state": "queued", "queued": "2023-01-25 05:06:05", "delivered": "2023-01-25 05:06:06"}
DELIVERED = {**QUEUED, "state": "delivered", "delivery_seconds": 1.5}


def test_a_wide_terminal_shows_whole_times() -> None:
    told = lifecycles_table([BOUNCED, QUEUED, DELIVERED], 154)

    assert "2023-01-25 05:06:05" in told
    assert max(map(width, told.splitlines())) <= 154


def test_a_narrow_terminal_shows_whole_recipients_instead_of_cut_times() -> None:
    told = lifecycles_table([BOUNCED, QUEUED, DELIVERED], 80)

    assert "shop    no-user@example.jp  delivered  1.5" in told
    assert "2023" not in told
    assert max(map(width, told.splitlines())) <= 80


def test_events_are_shown_where_they_can_be_posted() -> None:
    keys = SourceSettings.model_validate({"api_keys": ["k"]})
    bearer = SourceSettings.model_validate({"api_keys": ["k"], "bearer_tokens": ["t"]})

    assert event_paths({"cmc": SourceSettings()}) == ["/v1/events"]
    assert event_paths({"shop": keys}) == []
    assert event_paths({"shop": keys, "app": bearer}) == ["/v1/events?source=app"]


@pytest.mark.parametrize(
    ("sources", "command"),
    [
        ({"shop": {"api_keys": ["k"]}}, r"todoke send \S+/deliveries-succeeded\.json"),
        (
            {"shut": {"provider": "generic", "api_keys": ["k"]}, "shop": {"api_keys": ["k"]}},
            r"todoke send --source shop \S+/deliveries-succeeded\.json",
        ),
        ({"cmc": {}}, rf"echo '{re.escape(OWN_EVENT)}' \| todoke send --form ndjson -"),
        (
            {"shut": {"provider": "generic", "api_keys": ["k"]}, "app": {"provider": "generic"}},
            rf"echo '{re.escape(OWN_EVENT)}' \| todoke send --source app --form ndjson -",
        ),
        ({"shut": {"provider": "generic", "api_keys": ["k"]}}, ""),
    ],
)
def test_what_is_offered_to_be_posted_is_what_a_source_takes(sources: dict[str, Any], command: str) -> None:
    settings = Settings.model_validate({"sources": sources})

    assert re.fullmatch(command, post_one(settings, "todoke send"))


def test_the_event_that_is_offered_can_be_read() -> None:
    shared = Context(
        source="app",
        provider="generic",
        zone=SourceSettings().zone,
        receipt="0" * 32,
        received_at="2026-03-02T09:00:05.000Z",
        max_events=1,
    )
    provider = PROVIDERS[ProviderName.GENERIC]
    harvest = provider.harvest(provider.unpack(OWN_EVENT.encode(), "application/x-ndjson"), shared)

    assert (len(harvest.events), harvest.rejects) == (1, [])
