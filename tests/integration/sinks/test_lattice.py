"""The lifecycle is computed twice, by the worker in Python and by ClickHouse in SQL: both must say the same."""

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import msgspec
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.clickhouse.writer import ClickHouseWriter
from sinks.partition import Limits, PartitionReader
from sinks.position import Position
from streams import lifecycle
from streams.contracts.chain import Link
from streams.contracts.codec import encode
from streams.contracts.events import LIFECYCLE_TYPES, Event
from streams.contracts.sections import Outbox, public_lifecycle
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import draw_name, event, lines
from tests.integration.sinks.running import Place

FEW_TIMES = st.integers(0, 6).map(lambda number: f"2026-03-02T09:00:{number:02d}.{number * 7:03d}Z")
ANY_TIME = st.datetimes(datetime(1900, 1, 2), datetime(2299, 12, 30)).map(  # noqa: DTZ001 - Hypothesis asks for it
    lambda time: f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"
)
TIME = st.one_of(FEW_TIMES, FEW_TIMES, FEW_TIMES, ANY_TIME)
TEXT = st.one_of(st.sampled_from(["", "", "a", "b"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
WORDS = ("sender", "subject", "api_data", "composition", "reason", "bounce_code", "bounce_class", "bounce_reason")
TYPE = st.sampled_from([*sorted(LIFECYCLE_TYPES), "blocked", "unknown"])


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """Draw unique events of a few messages, cut into blocks in any order. Many share times, so that ids decide."""
    mails = [(draw(st.sampled_from(["m1", "件", ""])), draw(st.sampled_from(["u1", "u2"]))) for _ in range(3)]
    ids = draw(st.lists(st.integers(0, 2**128 - 1), unique=True, max_size=24))
    events = []
    for id_ in ids:
        message_id, recipient = draw(st.sampled_from(mails))
        words = (
            "sender",
            "subject",
            "api_data",
            "composition",
            "reason",
            "bounce_code",
            "bounce_class",
            "bounce_reason",
        )
        fields = {word: draw(TEXT) for word in words}
        events.append(
            event(
                0,
                **fields,
                id=f"{id_:032x}",
                message_id=message_id,
                recipient=recipient,
                type=draw(TYPE),
                occurred_at=draw(TIME),
            )
        )
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=3)))
    return [events[start:end] for start, end in itertools.pairwise([0, *cuts, len(events)]) if end > start]


def by_worker(events: Sequence[Event]) -> dict[tuple[str, str], dict[str, object]]:
    """Fold the events as the worker does; give the public lifecycles by message id and recipient."""
    found: dict[tuple[str, str], lifecycle.Lifecycle] = {}
    for one in events:
        if not one["message_id"] or one["type"] not in LIFECYCLE_TYPES:
            continue
        key = one["message_id"], one["recipient"]
        mail = found.setdefault(key, lifecycle.Lifecycle(one["source"], *key))
        mail.absorb(msgspec.convert(one, lifecycle.Event))
    return {key: json.loads(public_lifecycle(lifecycle.render(mail))) for key, mail in found.items()}


@pytest_asyncio.fixture
async def writer(place: Place) -> AsyncIterator[ClickHouseWriter]:
    assert place.clickhouse is not None
    opened = ClickHouseWriter(connection=place.clickhouse)
    yield opened
    await opened.close()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(blocks=histories())
async def test_both_lattices_agree_in_every_field(
    writer: ClickHouseWriter, tables: Tables, blocks: list[list[Event]]
) -> None:
    source = f"s{draw_name()}"
    reader = PartitionReader(0, Position(offset=0), Limits(bytes=1, events=1))
    epoch = draw_name()
    told: list[Event] = []
    for stamp, block in enumerate(blocks):
        own = [Event(**{**one, "source": source}) for one in block]
        link = Link(epoch=epoch, stamp=stamp, previous=stamp - 1)
        reader.feed(stamp, encode(link.header(), {Outbox.EVENTS.value: lines(own)}))
        told += own
    while (made := reader.cut()) is not None:
        await writer.write(made)

    rows = await tables.rows(
        f"select * from lifecycles where source = '{source}'",
        date_time_output_format="iso",
    )

    assert {(row["message_id"], row["recipient"]): row for row in rows} == by_worker(told)


async def test_the_fields_stand_in_the_same_order(tables: Tables) -> None:
    columns = await tables.text(
        "select name from system.columns where database = currentDatabase() and table = 'lifecycles' order by position"
    )

    assert columns.split() == list(by_worker([event(1)]).popitem()[1])
