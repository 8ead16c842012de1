from deploy.commands.up import event_paths
from deploy.demo import lifecycles_table
from deploy.table import width
from ingest.settings import SourceSettings

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
