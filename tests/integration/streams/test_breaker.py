"""A worker that can make nothing of its records stops; another version of it goes on there."""

import asyncio

import pytest

from streams import answer as answering
from streams.contracts.codec import Record
from streams.contracts.events import Event
from streams.contracts.sections import Outbox
from streams.correlation import Known, correlate
from streams.diversions import DivertedTooMuchError
from streams.outcome import Outcome
from streams.quarantine import Quarantine
from tests.chunks import make_chunk, make_event
from tests.integration.streams.stage import Stage, unique_ids

RUN = 2


def mails(start: int, end: int) -> list[Event]:
    return [make_event(message_id=f"{number}@example.com") for number in range(start, end)]


def bad_deploy(chunk: Record, known: Known, quarantine: Quarantine) -> Outcome:
    """Correlate like a version with a mistake, from the second record on."""
    if quarantine.record.offset >= 1:
        raise ZeroDivisionError("a mistake in this version")
    return correlate(chunk, known, quarantine)


async def ended_by(stage: Stage) -> str:
    """Run a worker until it stops; give what it says."""
    async with stage.running(dead_letter_run=RUN) as worker:
        with pytest.raises(DivertedTooMuchError) as stopped:
            await asyncio.wait_for(worker.wait(), 30)
        ready, state = worker.readiness()
        assert not ready
        assert state["failure"] == str(stopped.value)
    return str(stopped.value)


async def test_a_bad_deploy_stops_and_a_good_one_goes_on_there(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    events = mails(0, 80)
    await stage.put([make_chunk(events[at : at + 10]) for at in range(0, 80, 10)])

    monkeypatch.setattr(answering, "correlate", bad_deploy)
    for _ in range(3):  # as often as something starts it
        said = await ended_by(stage)
        assert "shard 0, inbox offset 3" in said
        assert "chunk_poison: ZeroDivisionError: a mistake in this version" in said
        assert (await stage.told()).chain.stamp == 2
    monkeypatch.undo()
    await stage.work_off(dead_letter_run=RUN)

    told = await stage.told()
    assert set(unique_ids(told)) == {event["id"] for event in [*events[:10], *events[30:]]}
    assert [letter["offset"] for letter in told.rows(Outbox.DEAD_LETTERS)] == [1, 2]
    assert sum(row["dead_lettered"] for row in told.rows(Outbox.RECEIPTS)) == 20


async def test_a_line_in_many_records_that_cannot_be_read_stops_the_worker_too(stage: Stage) -> None:
    events = mails(0, 100)
    await stage.put([make_chunk([event], raw_lines=[b"{}"]) for event in events])
    async with stage.running(dead_letter_ratio=0.02) as worker:
        with pytest.raises(DivertedTooMuchError, match=r"inbox offset 40: .*chunk_unreadable.*dead_letter_ratio"):
            await asyncio.wait_for(worker.wait(), 30)

    told = await stage.told()
    assert len(unique_ids(told)) == 40
    assert len(told.rows(Outbox.DEAD_LETTERS)) == 40


async def test_raising_the_limit_has_them_diverted(stage: Stage) -> None:
    await stage.put([b"no record"] * 5)
    await ended_by(stage)

    await stage.work_off(dead_letter_run=100)

    assert len((await stage.told()).rows(Outbox.DEAD_LETTERS)) == 5
