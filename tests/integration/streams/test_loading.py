"""Loading from a real log, and keeping it loadable."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer

from streams.answer import answer, found
from streams.contracts.chain import Link
from streams.contracts.clock import rfc3339
from streams.contracts.codec import FORM_HEADER, decode, encode
from streams.inbox import InboxRecord
from streams.loading import CERTAIN_AFTER, load
from streams.log import Log
from streams.state import BEGINNING, PartitionState
from tests.chunks import make_chunk, make_event
from tests.eventually import eventually
from tests.integration.streams.stage import Stage, Told, unique_ids

HORIZON_HOURS = 24


async def write_history(stage: Stage, times: list[datetime]) -> None:
    """Write the outbox of a worker that answered one record at each of these times."""
    state = PartitionState(HORIZON_HOURS)
    producer = AIOKafkaProducer(bootstrap_servers=stage.bootstrap_servers)
    await producer.start()

    async def write(value: bytes, at: datetime) -> None:
        state.apply(decode(value))
        await producer.send(
            stage.topics.outbox.name,
            value,
            partition=0,
            timestamp_ms=int(at.timestamp() * 1000),
            headers=[FORM_HEADER],
        )

    try:
        await write(found(-1, None, BEGINNING, []), times[0])
        for offset, at in enumerate(times):
            chunk = make_chunk([make_event(message_id=f"{offset}@example.com")])
            record = InboxRecord(topic="inbox", shard=0, offset=offset, at=rfc3339(at), value=chunk)
            await write(answer(record, state, [], "1.0").value, at)
    finally:
        await producer.stop()


async def test_a_horizon_is_loaded_and_not_what_was_before_it(stage: Stage) -> None:
    now = datetime.now(UTC) - timedelta(days=4)
    times = [now - timedelta(hours=hours) for hours in range(600, 0, -1)]
    await write_history(stage, times)
    async with Log(stage.connection) as log:
        loaded = await load(log, stage.topics.outbox.name, 0, HORIZON_HOURS)
        start = await log.first_since(
            stage.topics.outbox.name, 0, int((times[-1] - timedelta(hours=26)).timestamp() * 1000)
        )

    assert start is not None
    assert start > 2 * CERTAIN_AFTER, "the test's log is too short to be begun in the middle"
    assert loaded.state.open_lifecycles == HORIZON_HOURS + 1, "the hour in which the horizon begins is kept whole"
    assert (loaded.state.chain.stamp, loaded.state.chain.linked, loaded.end) == (599, True, 601)
    assert loaded.written_at is not None
    assert abs(loaded.written_at - times[-1]) < timedelta(milliseconds=2)


async def test_a_log_that_was_emptied_is_followed_as_strictly_as_one_that_begins(stage: Stage) -> None:
    """What stands behind a record that got lost does not count, or the inbox record of the lost one would be passed."""
    await write_history(stage, [datetime.now(UTC)] * 3)
    await stage.cut(stage.topics.outbox)
    founding = found(2, None, BEGINNING, [])
    first, _, third = (
        encode({**link.header(), "time": BEGINNING, "counts": {}}, {})
        for link in (
            Link(epoch=decode(founding).header["epoch"], stamp=stamp, previous=stamp - 1) for stamp in (3, 4, 5)
        )
    )
    await stage.put([founding, first, third], topic=stage.topics.outbox)
    async with Log(stage.connection) as log:
        loaded = await load(log, stage.topics.outbox.name, 0, HORIZON_HOURS)

    assert (loaded.state.chain.stamp, loaded.state.chain.linked) == (3, True)


async def test_a_load_that_is_given_up_does_not_say_that_it_loaded(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await write_history(stage, [datetime.now(UTC)] * 3)
    async with Log(stage.connection) as log:
        with caplog.at_level(logging.INFO):
            await load(log, stage.topics.outbox.name, 0, HORIZON_HOURS, given_up=lambda: True)
            assert "Loaded" not in caplog.text
            await load(log, stage.topics.outbox.name, 0, HORIZON_HOURS)
            assert "Loaded shard 0: 3 lifecycles" in caplog.text


async def test_what_is_no_record_of_the_outbox_is_a_step_like_any_other(stage: Stage) -> None:
    """Else a worker that passes over many of them is taken for one that stands still, and cannot be told to end."""
    await stage.put([b"foreign"] * 5, topic=stage.topics.outbox)
    steps: list[bool] = []

    def given_up() -> bool:
        steps.append(False)
        return len(steps) > 5

    async with Log(stage.connection) as log:
        loaded = await load(log, stage.topics.outbox.name, 0, HORIZON_HOURS, given_up=given_up)
        assert (loaded.unreadable, len(steps)) == (5, 5)
        loaded = await load(log, stage.topics.outbox.name, 0, HORIZON_HOURS, given_up=given_up)
        assert (loaded.unreadable, len(steps)) == (1, 6)


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return self.now().timestamp()


@pytest.mark.parametrize("later", [timedelta(hours=25), timedelta(days=-9)], ids=["a day later", "set back"])
async def test_a_log_in_which_nothing_happens_is_kept_alive(stage: Stage, later: timedelta) -> None:
    """Else retention would take the record that everybody continues from."""
    clock = HandClock()
    events = [make_event(message_id=f"{number}@example.com") for number in range(2)]
    await stage.put([make_chunk(events[:1])])
    async with stage.running(clock=clock) as worker:
        await worker.until_idle()
        clock.ahead = later

        async def told() -> Told:
            return await stage.told()

        await eventually(told, lambda told: len(told.records) == 3)
        await stage.put([make_chunk(events)])
        await worker.until_idle()

    result = await stage.told()
    assert [record.header["stamp"] for record in result.records] == [-1, 0, 0, 1]
    assert result.ignored == 0
    assert set(unique_ids(result).values()) == {1}
