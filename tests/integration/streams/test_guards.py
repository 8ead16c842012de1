"""What stands between the worker and wrong counts: the chain, the gap check, its own offsets, reloads."""

import asyncio
import base64
import logging
import os
from datetime import UTC, datetime

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from faust.types import TP

from deploy.embedded.kafka import EmbeddedKafka
from deploy.topic_setting import set_on_topics
from streams import answer as answering
from streams.answer import answer, found
from streams.beginning import RETRY_SECONDS
from streams.contracts.chain import Link
from streams.contracts.clock import rfc3339
from streams.contracts.codec import FORM_HEADER, compressed, encode
from streams.contracts.compression import Compression
from streams.contracts.dead_letter import Reason
from streams.contracts.errors import ConfigurationError, StalledError
from streams.contracts.events import Event
from streams.contracts.sections import Outbox
from streams.contracts.topics import CHUNK_LIMIT
from streams.contracts.zstd import zstd
from streams.inbox import InboxRecord
from streams.log import Log
from streams.quarantine import Quarantine
from streams.role import WorkerEndedError
from streams.state import BEGINNING, PartitionState
from tests.chunks import make_chunk, make_event, rows
from tests.eventually import eventually
from tests.integration.streams.stage import Stage, Told, stage_in, unique_ids


def mails(start: int, end: int, **given: str) -> list[Event]:
    return [make_event(message_id=f"{number}@example.com", **given) for number in range(start, end)]


def once(*events: Event) -> dict[str, int]:
    return dict.fromkeys((event["id"] for event in events), 1)


def stamps(told: Told) -> list[int]:
    return [record.header["stamp"] for record in told.records]


async def write(stage: Stage, *values: bytes) -> None:
    """Write to the outbox behind the worker's back."""
    async with stage.producer() as producer:
        for value in values:
            await producer.send_and_wait(stage.topics.outbox.name, value, partition=0, headers=[FORM_HEADER])


def state_after(told: Told) -> PartitionState:
    state = PartitionState(horizon_hours=24)
    for record in told.records:
        state.apply(record)
    return state


def zombie_answer(told: Told, chunk: bytes, offset: int, at: str) -> bytes:
    """Answer as a worker does that knows no more than this."""
    record = InboxRecord(topic="inbox", shard=0, offset=offset, at=at, value=chunk)
    return answer(record, state_after(told), [], "zombie").value


async def test_a_record_that_a_zombie_writes_again_is_ignored(stage: Stage) -> None:
    events = mails(0, 40)
    async with stage.running() as worker:
        await stage.put([make_chunk(events[:10])])
        await worker.until_idle()
        knew_nothing = await stage.told()
        knew_nothing.records = knew_nothing.records[:1]
        await write(stage, zombie_answer(knew_nothing, make_chunk(events[:10]), 0, await stage.entered(0)))
        await stage.put([make_chunk(events[at : at + 10]) for at in (10, 0, 20, 30)])
        await worker.until_idle()

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert stamps(told) == [-1, 0, 1, 2, 3, 4]
    assert told.ignored >= 1


async def test_an_answer_that_another_worker_gave_first_is_the_one_that_counts(stage: Stage) -> None:
    events = mails(0, 40)
    chunk = make_chunk(events[10:20])
    async with stage.running() as worker:
        await stage.put([make_chunk(events[:10])])
        await worker.until_idle()
        at = rfc3339(datetime.now(UTC))
        await write(stage, zombie_answer(await stage.told(), chunk, 1, at))
        await stage.put([chunk, make_chunk(events[15:25]), make_chunk(events[25:])], at=at)
        await worker.until_idle()

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert stamps(told) == [-1, 0, 1, 2, 3]
    assert told.ignored >= 1, "the worker had nothing written that came too late"


async def test_a_worker_learns_what_another_one_answered_otherwise(stage: Stage) -> None:
    """One of an older version, say, that could not read the record: what the log says is what counts, for all."""
    events = mails(0, 20)
    chunk = make_chunk(events[10:])
    async with stage.running() as worker:
        await stage.put([make_chunk(events[:10])])
        await worker.until_idle()
        at = rfc3339(datetime.now(UTC))
        quarantine = Quarantine(InboxRecord(topic="inbox", shard=0, offset=1, at=at, value=chunk), "0.0")
        outcome = quarantine.whole_record(Reason.CHUNK_POISON, "not known here")
        chain = (await stage.told()).chain
        link = Link(epoch=chain.epoch or "", stamp=1, previous=chain.stamp)
        await write(stage, encode({**link.header(), "time": at, "counts": {}}, outcome.sections))
        await stage.put([chunk], at=at)
        await worker.until_idle()
        await stage.put([chunk])
        await worker.until_idle()

    told = await stage.told()
    assert unique_ids(told) == once(*events), "the resend is the first that anybody hears of these events"
    assert len(told.rows(Outbox.DEAD_LETTERS)) == 1


async def test_lifecycles_that_are_too_long_for_one_record_are_told_ahead(stage: Stage) -> None:
    """Also where a worker has died before, between what goes ahead and the answer itself."""
    events = mails(0, 1300, subject="", api_data="x" * 14_000)
    later = mails(0, 1300, subject="", type="delivered")
    await stage.put([make_chunk(events[at : at + 50]) for at in range(0, 1300, 50)])
    await stage.work_off()
    state = state_after(await stage.told())
    chunk = make_chunk(later)
    offset = await stage.put([chunk])
    record = InboxRecord(topic="inbox", shard=0, offset=offset, at=await stage.entered(offset), value=chunk)
    died = answer(record, state, [], "1.0")
    assert len(died.ahead) == 2
    await write(stage, *died.ahead)
    await stage.work_off()
    await stage.put([chunk, make_chunk(events[:50])])
    await stage.work_off()

    told = await stage.told()
    assert unique_ids(told) == once(*events, *later)
    assert not told.rows(Outbox.DEAD_LETTERS)
    assert told.ignored == 0
    receipts = told.rows(Outbox.RECEIPTS)
    assert [(row["unique"], row["duplicate"]) for row in receipts[26:]] == [(1300, 0), (0, 1300), (0, 50)]


async def test_a_shard_whose_answer_is_refused_pauses_although_what_goes_ahead_of_it_is_taken(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(answering, "VALUE_LIMIT", 200_000)
    monkeypatch.setattr(answering, "PIECE_LIMIT", 100_000)
    events = mails(0, 60, subject="", api_data="x" * 14_000)
    unlike = (os.urandom(1000).hex() for _ in events)
    later = [
        make_event(
            message_id=event["message_id"], type="delivered", occurred_at="2026-03-02T00:00:09.000Z", api_data=text
        )
        for event, text in zip(events, unlike, strict=True)
    ]
    await stage.put([make_chunk(events[at : at + 5]) for at in range(0, 60, 5)])
    await stage.work_off()
    async with stage.admin() as admin:
        await set_on_topics(admin, [stage.topics.outbox.name], "max.message.bytes", "50000")
    caplog.set_level(logging.INFO, "streams")
    before = await stage.extent(stage.topics.outbox)
    await stage.put([make_chunk(later)])
    async with stage.running():
        # Each time what goes ahead is taken, and the answer is not.
        await eventually(lambda: stage.extent(stage.topics.outbox), lambda end: end > before + 20)

    loaded = [record.created for record in caplog.records if record.message.startswith("Loaded shard")]
    refused = [record.created for record in caplog.records if "loaded again: send failed" in record.message]
    assert len(refused) > 1
    assert all(
        min(at for at in loaded if at > failed) - failed >= RETRY_SECONDS for failed in refused if failed < loaded[-1]
    )


async def test_what_is_no_record_of_the_outbox_is_passed_over(stage: Stage) -> None:
    """Before the log is founded, under a running worker, and as the last record that a load finds."""
    events = mails(0, 30)
    await write(stage, b"foreign")
    async with stage.running() as worker:
        await stage.put([make_chunk(events[:10])])
        await worker.until_idle()
        await write(stage, b"foreign", encode({}, {}))
        await stage.put([make_chunk(events[10:20])])
        await worker.until_idle()
    await write(stage, b"foreign")
    await stage.put([make_chunk(events)])
    await stage.work_off()

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert stamps(told) == [-1, 0, 1, 2]


async def test_what_followed_a_damaged_answer_is_answered_again(stage: Stage) -> None:
    events = mails(0, 40)
    await stage.put([make_chunk(events[at : at + 10]) for at in range(0, 40, 10)])
    await stage.work_off()
    whole = await stage.told()
    await stage.cut(stage.topics.outbox)
    values = [encode(record.header, record.sections) for record in whole.records]
    await write(stage, *values[:2], values[2][:-1], *values[3:])
    await stage.work_off()

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert stamps(told) == [-1, 0, 1, 2, 3]


async def test_readers_hear_at_once_that_what_a_damaged_answer_said_is_lost(stage: Stage) -> None:
    """The inbox holds it no more, and nothing new comes whose answer would tell it. Sinks are in trouble until then."""
    await stage.put([make_chunk(mails(at, at + 10)) for at in range(0, 40, 10)])
    await stage.work_off()
    values = [encode(record.header, record.sections) for record in (await stage.told()).records]
    await stage.cut(stage.topics.outbox)
    await stage.cut(stage.topics.inbox, 4)
    await write(stage, *values[:2], values[2][:-1], *values[3:])
    async with stage.running():
        await eventually(stage.told, lambda told: stamps(told) == [-1, 0, 0])


async def test_a_worker_follows_into_an_epoch_that_another_one_opened(stage: Stage) -> None:
    events = mails(0, 30)
    async with stage.running() as worker:
        await stage.put([make_chunk(events[:10])])
        await worker.until_idle()
        await write(stage, found(0, 0, await stage.entered(0), []))
        await stage.put([make_chunk(events[10:20]), make_chunk(events[20:])])
        await worker.until_idle()

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert len({record.header["epoch"] for record in told.records}) == 2


async def test_two_workers_that_both_think_the_shard_theirs_do_no_harm(stage: Stage) -> None:
    """Also a race of foundings: both begin with an empty outbox."""
    events = mails(0, 1000)
    chunks = [make_chunk(events[at : at + 5]) for at in range(0, 1000, 5)]
    other = Stage(bootstrap_servers=stage.bootstrap_servers, shards=1, topics=stage.topics)
    assert other.group != stage.group
    await stage.put(chunks[:20])
    async with stage.running(nudge=0.5) as one, other.running(nudge=0.5) as two:
        for at in range(20, 200, 20):
            await stage.put([*chunks[at : at + 20], chunks[at - 5]])
        await asyncio.gather(one.until_idle(), two.until_idle())

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert stamps(told) == list(range(-1, 209))
    assert told.records[0].header["founding"]
    assert told.ignored >= 1, "they did not get into each other's way"


async def test_foundings_at_the_same_time_leave_one_log(stage: Stage) -> None:
    await write(stage, found(-1, None, BEGINNING, []), found(-1, None, BEGINNING, []))
    events = mails(0, 10)
    await stage.put([make_chunk(events)])

    await stage.work_off()

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert len({record.header["epoch"] for record in told.records}) == 1
    assert told.ignored == 1


async def test_records_that_faust_did_not_bring_are_fetched_again(stage: Stage) -> None:
    events = mails(0, 100)
    async with stage.running() as worker:
        await stage.put([make_chunk(events[:10])])
        await worker.until_idle()
        app = worker._app
        assert app is not None
        await app.consumer.seek(TP(stage.topics.inbox.name, 0), 6)
        await stage.put([make_chunk(events[at : at + 10]) for at in range(0, 100, 10)])
        await worker.until_idle()

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert not told.rows(Outbox.LOSSES)


async def test_a_partition_that_is_not_read_any_more_is_read_again(stage: Stage) -> None:
    """Nothing new comes that could show a gap: only the watch over the log's end can tell."""
    events = mails(0, 30)
    async with stage.running(nudge=0.5) as worker:
        await stage.put([make_chunk(events[:10])])
        await worker.until_idle()
        app = worker._app
        assert app is not None
        app.consumer.pause_partitions({TP(stage.topics.inbox.name, 0)})
        await stage.put([make_chunk(events)])
        await worker.until_idle()

    assert unique_ids(await stage.told()) == once(*events)


@pytest.mark.parametrize("committed", [0, 3, 5])
async def test_what_the_group_has_committed_is_not_believed(stage: Stage, committed: int) -> None:
    """Too little, too much, and all of it: the outbox says where to read on."""
    events = mails(0, 50)
    chunks = [make_chunk(events[at : at + 10]) for at in range(0, 50, 10)]
    await stage.put(chunks[:2])
    await stage.work_off()
    await stage.put(chunks[2:])
    await stage.commit(committed)

    await stage.work_off()

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert not told.rows(Outbox.LOSSES)


async def test_a_worker_that_stands_still_for_long_ends(stage: Stage) -> None:
    async with stage.running(nudge=60, watchdog=1) as worker:
        await stage.put([make_chunk(mails(0, 1))])
        await worker.until_idle()
        app = worker._app
        assert app is not None
        app.consumer.pause_partitions({TP(stage.topics.inbox.name, 0)})
        await stage.put([make_chunk(mails(0, 1))])
        with pytest.raises(StalledError, match="shard 0 stands at offset 1"):
            await asyncio.wait_for(worker.wait(), 20)


async def test_a_worker_ends_when_faust_does(stage: Stage) -> None:
    async with stage.running() as worker:
        app = worker._app
        assert app is not None
        await app.crash(RuntimeError("something within Faust"))
        with pytest.raises(WorkerEndedError, match="something within Faust"):
            await asyncio.wait_for(worker.wait(), 20)
        assert not worker.readiness()[0]


async def test_two_workers_of_one_name_say_so_and_do_no_harm(stage: Stage) -> None:
    events = mails(0, 40)
    await stage.put([make_chunk(events[:20])])
    async with stage.running(instance="one") as first:
        await first.until_idle()
        async with stage.running(instance="one"):
            with pytest.raises(ConfigurationError, match=r"is called 'one', too.*worker\.instance"):
                await asyncio.wait_for(first.wait(), 30)
    await stage.put([make_chunk(events)])
    await stage.work_off(instance="one")

    assert unique_ids(await stage.told()) == once(*events)


async def test_a_named_worker_that_returns_is_not_taken_for_another(stage: Stage) -> None:
    """Neither at once nor when its place was given up."""
    for _ in range(3):
        await stage.put([make_chunk(mails(0, 1))])
        await stage.work_off(instance="one")
    async with stage.running(instance="one", commit_interval=0.1) as worker, stage.running(instance="two") as other:
        await stage.put([make_chunk(mails(0, 1))])
        await asyncio.wait([asyncio.create_task(one.until_idle()) for one in (worker, other)])
        assert worker._failure is None
        assert other._failure is None


async def set_outbox_limit(stage: Stage, size: int) -> None:
    name = stage.topics.outbox.name
    async with stage.admin() as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": str(size)})])


async def test_a_send_that_fails_in_the_middle_is_made_good(stage: Stage) -> None:
    events = mails(0, 40)
    large = mails(40, 80, reason="".join(chr(0x4E00 + number * 7919 % 20000) for number in range(3000)))
    await set_outbox_limit(stage, 20_000)
    chunks = [make_chunk(events[:10]), make_chunk(large), *(make_chunk(events[at : at + 10]) for at in (10, 20, 30))]
    async with stage.running(compression="none", watchdog=600) as worker:
        await stage.put(chunks)

        labels = {"partition": "0", "cause": "send failed"}

        async def reloads() -> float:
            return worker._metrics.registry.get_sample_value("todoke_worker_reloads_total", labels) or 0.0

        assert await eventually(reloads, lambda number: number >= 2, within=20)
        await set_outbox_limit(stage, 16_000_000)
        await worker.until_idle()

    told = await stage.told()
    assert unique_ids(told) == once(*events, *large)
    assert stamps(told) == [-1, 0, 1, 2, 3, 4]


async def test_what_retention_took_is_told_and_work_goes_on(stage: Stage) -> None:
    events = mails(0, 100)
    chunks = [make_chunk(events[at : at + 10]) for at in range(0, 100, 10)]
    await stage.put(chunks[:3])
    await stage.work_off()
    await stage.put(chunks[3:])
    await stage.cut(stage.topics.inbox, 6)

    await stage.work_off()

    told = await stage.told()
    assert unique_ids(told) == once(*events[:30], *events[60:])
    assert stamps(told) == [-1, 0, 1, 2, 2, 6, 7, 8, 9]
    (loss,) = told.rows(Outbox.LOSSES)
    assert (loss["shard"], loss["first"], loss["last"]) == (0, 3, 5)


async def test_an_inbox_that_retention_emptied_is_idle(stage: Stage) -> None:
    events = mails(0, 30)
    await stage.put([make_chunk(events[:10])])
    await stage.work_off()
    await stage.put([make_chunk(events[10:20])])
    await stage.cut(stage.topics.inbox, 2)
    await stage.work_off()
    await stage.put([make_chunk(events[20:])])
    await stage.work_off()

    told = await stage.told()
    assert unique_ids(told) == once(*events[:10], *events[20:])
    assert [(loss["first"], loss["last"]) for loss in told.rows(Outbox.LOSSES)] == [(1, 1)]


async def test_offsets_that_hold_no_record_are_passed_over(stage: Stage) -> None:
    """A transaction's marker has an offset of its own, also where it is the last thing in the log."""
    events = mails(0, 20)
    async with stage.running(nudge=0.5) as worker, stage.producer(transactional_id=stage.group) as producer:
        for part in (events[:10], events[10:]):
            async with producer.transaction():
                await producer.send(stage.topics.inbox.name, make_chunk(part), partition=0, headers=[FORM_HEADER])
        await worker.until_idle()

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert stamps(told) == [-1, 0, 2]


async def recreate_inbox(stage: Stage) -> None:
    await stage.delete(stage.topics.inbox)

    async def created() -> bool:
        await stage.create(stage.topics.inbox)
        return True

    await eventually(created)


async def test_an_inbox_that_was_made_anew_begins_a_new_epoch(stage: Stage) -> None:
    events = mails(0, 60)
    await stage.put([make_chunk(events[at : at + 10]) for at in range(0, 40, 10)])
    await stage.work_off()
    await recreate_inbox(stage)
    await stage.put([make_chunk(events[30:50]), make_chunk(events[50:])])

    await stage.work_off()

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert stamps(told) == [-1, 0, 1, 2, 3, -1, 0, 1]
    assert len({record.header["epoch"] for record in told.records}) == 2
    assert [(loss["first"], loss["last"]) for loss in told.rows(Outbox.LOSSES)] == [(4, 3)]


async def test_an_inbox_that_was_made_anew_and_grew_beyond_the_last_answer_is_noticed(stage: Stage) -> None:
    events = mails(0, 90)
    await stage.put([make_chunk(events[at : at + 10]) for at in range(0, 20, 10)])
    await stage.work_off()
    await recreate_inbox(stage)
    await stage.put([make_chunk(events[at : at + 10]) for at in range(20, 90, 10)])

    await stage.work_off()

    told = await stage.told()
    assert unique_ids(told) == once(*events)
    assert stamps(told) == [-1, 0, 1, *range(-1, 7)]
    assert [(loss["first"], loss["last"]) for loss in told.rows(Outbox.LOSSES)] == [(2, 1)]


async def test_a_worker_notices_that_its_inbox_was_made_anew(stage: Stage) -> None:
    events = mails(0, 60)
    async with stage.running(nudge=0.5, metadata_interval=1) as worker:
        await stage.put([make_chunk(events[at : at + 10]) for at in range(0, 40, 10)])
        await worker.until_idle()
        await recreate_inbox(stage)
        await stage.put([make_chunk(events[40:])])

        async def told() -> Told:
            return await stage.told()

        await eventually(told, lambda told: stamps(told) == [-1, 0, 1, 2, 3, -1, 0], within=60)

    assert unique_ids(await stage.told()) == once(*events)


async def test_an_extent_that_is_told_late_is_not_taken_for_another_inbox(stage: Stage) -> None:
    """Between the broker's answer and the look at it the worker may have answered further records."""
    events = mails(0, 20)
    async with stage.running() as worker:
        await stage.put([make_chunk(events[:10])])
        await worker.until_idle()
        shard = worker._shards._shards[0]
        position = shard.position
        async with Log(stage.connection) as log:
            extent = await log.extent(stage.topics.inbox.name, 0)
        await stage.put([make_chunk(events[10:])])
        await worker.until_idle()
        shard.observe(extent, position, 0.5)
        assert shard._cause is None

    assert unique_ids(await stage.told()) == once(*events)


async def test_what_cannot_be_read_goes_to_the_dead_letters_and_stops_nothing(stage: Stage) -> None:
    event, events = make_event(), mails(0, 50)
    short = compressed(make_chunk(events), Compression.ZSTD, CHUNK_LIMIT)
    bomb = b'{"form":3,"sections":{"events":67108864}}\n' + zstd.compress(bytes(1 << 26))
    window = b'{"form":3,"sections":{"events":6}}\n' + bytes.fromhex("28b52ffd00783100007b7d0a7b7d0a")  # of 32 MB
    unreadable = [
        *(b"no record", None, encode({}, {"events": b"{}\n"}), b'{"form":1,"sections":[]}\n'),
        *(window, short[:-1], bomb),
    ]
    await stage.put([*unreadable, make_chunk([event]), short])

    await stage.work_off()

    told = await stage.told()
    letters = told.rows(Outbox.DEAD_LETTERS)
    assert [(letter["offset"], letter["reason"]) for letter in letters] == [
        (offset, Reason.CHUNK_UNREADABLE) for offset in range(len(unreadable))
    ]
    assert [base64.b64decode(letter["raw_base64"]) for letter in letters[-2:]] == [short[:-1], bomb]
    assert {letter["topic"] for letter in letters} == {stage.topics.inbox.name}
    assert unique_ids(told) == once(event, *events)


async def test_a_worker_that_returns_still_knows_what_it_saw(stage: Stage) -> None:
    event = make_event(type="blocked", message_id="", reason="hard bounce")
    mail = make_event()
    for _ in range(3):
        await stage.put([make_chunk([event, mail])])
        await stage.work_off()

    told = await stage.told()
    assert [row["duplicate"] for record in told.records[1:] for row in rows(record, Outbox.RECEIPTS)] == [0, 2, 2]
    assert len(told.rows(Outbox.SUPPRESSIONS)) == 1


async def test_missing_topics_are_told_at_the_start(kafka: EmbeddedKafka, topic_prefix: str) -> None:
    stage = stage_in(kafka.bootstrap_servers, topic_prefix, shards=1)
    with pytest.raises(ConfigurationError, match="todoke topics"):
        await stage.worker().start()
