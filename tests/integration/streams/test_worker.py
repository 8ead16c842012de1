"""The worker with a real broker: what goes in comes out once."""

from streams.contracts.sections import Outbox
from tests.chunks import make_chunk, make_event
from tests.integration.streams.stage import Stage, unique_ids


async def test_every_event_comes_out_once_however_often_it_came(stage: Stage) -> None:
    events = [make_event(message_id=f"{number}@example.com") for number in range(30)]
    await stage.put([make_chunk(events[:20]), make_chunk(events[10:]), make_chunk(events)])

    await stage.work_off()

    told = await stage.told()
    assert unique_ids(told) == dict.fromkeys((event["id"] for event in events), 1)
    assert [record.header["stamp"] for record in told.records] == [-1, 0, 1, 2]
    assert sum(row["unique"] for row in told.rows(Outbox.RECEIPTS)) == 30
    assert sum(row["duplicate"] for row in told.rows(Outbox.RECEIPTS)) == 40
