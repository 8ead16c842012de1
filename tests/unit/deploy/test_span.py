from datetime import UTC, datetime

import pytest

from deploy.span import ALL, span
from streams.contracts.errors import ConfigurationError

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("90s", "2026-03-02 11:58:30.000"),
        ("30m", "2026-03-02 11:30:00.000"),
        ("2h", "2026-03-02 10:00:00.000"),
        ("7d", "2026-02-23 12:00:00.000"),
        ("2026-03-02T09:00:00Z", "2026-03-02 09:00:00.000"),
        ("2026-03-02T09:00:00+09:00", "2026-03-02 00:00:00.000"),
        ("2026-03-02 09:00", "2026-03-02 09:00:00.000"),
    ],
)
def test_times_and_how_long_ago(text: str, since: str) -> None:
    assert span(text, None, NOW).condition("at") == f"at >= '{since}'"


def test_a_span_has_two_bounds_or_none() -> None:
    assert span("2h", "1h", NOW).condition("at") == "at >= '2026-03-02 10:00:00.000' and at < '2026-03-02 11:00:00.000'"
    assert span("2h", "1h", NOW).texts == ("2026-03-02T10:00:00.000Z", "2026-03-02T11:00:00.000Z")
    assert span(None, None, NOW) == ALL
    assert ALL.condition("at") == "true"
    assert ALL.texts[0] < "2026" < ALL.texts[1]


@pytest.mark.parametrize(("since", "until"), [("yesterday", None), (None, "1y"), ("1h", "2h"), ("99999999999d", None)])
def test_what_is_no_span_is_told(since: str | None, until: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"is no time: write|nothing lies between"):
        span(since, until, NOW)
