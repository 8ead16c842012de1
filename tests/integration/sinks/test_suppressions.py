"""The list of who must not be mailed, however the words about an address are spread over blocks."""

import pytest

from sinks.clickhouse.writer import ClickHouseWriter
from sinks.partition import Limits, PartitionReader
from sinks.position import Position
from streams.contracts.chain import Link
from streams.contracts.codec import encode
from tests.integration.sinks.clickhouse import Tables
from tests.integration.sinks.outbox import draw_name, event, lines
from tests.integration.sinks.running import Place

WORDS = ("blocked", "unblocked", "blocked", "unblocked")


@pytest.mark.parametrize("said", [1, 2, 3, 4])
async def test_the_latest_word_counts_while_each_is_still_in_a_part_of_its_own(
    place: Place, tables: Tables, said: int
) -> None:
    assert place.clickhouse is not None
    writer = ClickHouseWriter(connection=place.clickhouse)
    await tables.do("system stop merges suppression_states")
    for hour, word in enumerate(WORDS[:said]):
        told = event(hour, type=word, message_id="", recipient="a@x", occurred_at=f"2026-03-02T0{hour}:00:00.000Z")
        reader = PartitionReader(0, Position(offset=0), Limits(bytes=1, events=1))
        reader.feed(0, encode(Link(epoch=draw_name(), stamp=0, previous=None).header(), {"events": lines([told])}))
        block = reader.cut()
        assert block is not None
        await writer.write(block)
    await writer.close()

    rows = await tables.rows("select recipient, since from suppressions")

    latest = {"recipient": "a@x", "since": f"2026-03-02 0{said - 1}:00:00.000"}
    assert rows == ([latest] if WORDS[said - 1] == "blocked" else [])
