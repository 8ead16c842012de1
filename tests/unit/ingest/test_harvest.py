from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.harvest import Identities, Times
from streams.contracts.clock import rfc3339
from streams.contracts.identity import event_id

TOKYO = ZoneInfo("Asia/Tokyo")
BERLIN = ZoneInfo("Europe/Berlin")

MOMENTS = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2299, 1, 1))  # noqa: DTZ001 - a local time


@given(MOMENTS)
def test_a_local_time_is_read_in_its_zone(moment: datetime) -> None:
    text = f"{moment:%Y-%m-%d %H:%M:%S}"
    assert Times(TOKYO).read(text) == rfc3339(moment.replace(microsecond=0, tzinfo=TOKYO).astimezone(UTC))


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2023-03-26 02:30:00", "2023-03-26T01:30:00.000Z"),  # was skipped when summer began
        ("2023-10-29 02:30:00", "2023-10-29T00:30:00.000Z"),  # came twice when it ended: the first one
        ("2023-01-25T14:03:06.5Z", "2023-01-25T14:03:06.500Z"),
        (" 2023-01-25 14:03:06+09:00 ", "2023-01-25T05:03:06.000Z"),
        ("1969-12-31 23:59:59", None),
        ("9999-12-31 23:59:59", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("2023-02-30 10:00:00", None),
        ("1674626586", None),
        ("", None),
    ],
)
def test_times_at_the_edges(text: str, time: str | None) -> None:
    assert Times(BERLIN).read(text) == time
    assert Times(BERLIN).read(text) == time


def test_where_an_offset_is_demanded_none_is_assumed() -> None:
    times = Times(TOKYO, must_tell_offset=True)
    assert times.read("2023-01-25T14:03:06") is None
    assert times.read("2023-01-25T14:03:06-05:30") == rfc3339(
        datetime(2023, 1, 25, 14, 3, 6, tzinfo=UTC) + timedelta(hours=5, minutes=30)
    )


@given(st.lists(st.sampled_from([("a",), ("b",), ("a", "b")])))
def test_identities_count_equal_events(drawn: list[tuple[str, ...]]) -> None:
    identities = Identities()
    ids = [identities.draw(words) for words in drawn]
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == sorted(
        event_id(words, multiplicity) for words in set(drawn) for multiplicity in range(drawn.count(words))
    )
