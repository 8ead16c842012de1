from deploy.demo import lifecycles_table
from deploy.table import width

BOUNCED = {
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
    told = lifecycles_table([BOUNCED, QUEUED, DELIVERED], 146)

    assert "2023-01-25 05:06:05" in told
    assert max(map(width, told.splitlines())) <= 146


def test_a_narrow_terminal_shows_whole_recipients_instead_of_cut_times() -> None:
    told = lifecycles_table([BOUNCED, QUEUED, DELIVERED], 80)

    assert "no-user@example.jp  delivered  1.5" in told
    assert "2023" not in told
    assert max(map(width, told.splitlines())) <= 80
