"""One seed: a pipeline of its own, some rounds of traffic and faults on the same data, judged after each."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.chaos import findings as kinds
from tests.chaos.disk import small_disks
from tests.chaos.faults import Faults, Tally
from tests.chaos.findings import Findings
from tests.chaos.fleet import Fleet
from tests.chaos.items import draw_items
from tests.chaos.judge import Tables, judge_tables
from tests.chaos.judge_topics import Topics, judge_topics
from tests.chaos.pipeline import Pipeline
from tests.chaos.plan import Fault, Kind, draw_plan
from tests.chaos.power import Disk, disk_of_its_own
from tests.chaos.tables import rows
from tests.chaos.watch import Sight, unbounded, watch
from tests.eventually import eventually
from tests.traffic.provider import WEBHOOKS, Item, Ledger, Provider
from tests.traffic.running import INSTALLED, RunningPipeline
from tests.traffic.topics import committed_records

ROUND_WITHIN = 900.0
"""Seconds for traffic and faults of one round, recovery included, and more for very many events."""
EVENTS_A_SECOND = 1000
"""At least, while parts are killed."""
JOURNALLED = "form"
"""The source whose posts are answered from the journal; the others' are when Kafka has them."""
SOURCES = "\n".join(
    f'[sources.{webhook.source}]\ndurability = "{"journal" if webhook.source == JOURNALLED else "kafka"}"\n'
    for webhook in WEBHOOKS
)
CONFIG = f"""
{SOURCES}

[worker]
session_timeout = 6
request_timeout = 10

[sink.clickhouse]
session_timeout = 6

[sink.topics]
session_timeout = 6

[clickhouse]
answer_timeout = 20

[local]
restart_pause_limit = 4
healthy_after = 15
give_up_after = 0
"""
"""Parts that are killed every few seconds are to be started again soon, and the dead are to be noticed soon."""


class Form(StrEnum):
    """How the pipeline runs."""

    UP = "up"
    """``todoke up``."""
    FLEET = "fleet"
    """Each role twice, each behind networks that can be broken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How hard to try."""

    rounds: int = 3
    events: int = 10_000
    """Of each round."""
    seconds: float = 40.0
    """Of traffic in each round."""
    pause: float = 3.0
    """Seconds between two faults on average."""
    form: Form | None = None
    """``None`` takes turns."""
    kinds: tuple[Kind, ...] = ()
    """Of faults; all where none are given."""
    plan: Sequence[Fault] = ()
    """Of every round; drawn where none is given."""
    idle_within: float = 240.0
    """Seconds from the last answer until everything must be worked off."""
    todoke: Path = INSTALLED
    code: Path | None = None
    """Folder of the packages to run instead of the installed ones."""

    @property
    def named(self) -> set[Kind]:
        """Give the kinds that are asked for by name; what takes a machine of its own is there for no others."""
        return {fault.kind for fault in self.plan} | set(self.kinds)

    def form_of(self, seed: int) -> Form:
        """Tell the form that the pipeline of a seed has."""
        return self.form or (Form.UP, Form.FLEET)[seed % 2]


@dataclass(slots=True)
class Outcome:
    """What came of one seed."""

    seed: int
    form: Form
    rounds: int = 0
    """Judged."""
    seconds: float = 0.0
    ledger: Ledger = field(default_factory=Ledger)
    tally: Tally = field(default_factory=Tally)
    sight: Sight = field(default_factory=Sight)
    found: Findings = field(default_factory=Findings)
    overdue: list[str] = field(default_factory=list)
    """Parts that did not end in time when they were told to."""
    rows: int = 0
    """Of ``mail.events`` in the end."""


class Campaign:
    """One seed's run."""

    def __init__(self, folder: Path, seed: int, options: Options) -> None:
        """Describe it.

        Args:
            folder: empty; holds the pipeline's data and logs afterwards.
            seed: traffic and faults are drawn from it.
            options: how hard to try.
        """
        config = folder / "todoke.toml"
        config.write_text(CONFIG)
        self.pipeline: Pipeline
        if options.form_of(seed) is Form.UP:
            self.pipeline = RunningPipeline(folder / "data", config=config, todoke=options.todoke, code=options.code)
        else:
            self.pipeline = Fleet(
                folder / "data",
                config=config,
                seed=seed,
                todoke=options.todoke,
                code=options.code,
                with_clocks=Kind.CLOCK in options.named,
            )
        self.outcome = Outcome(seed=seed, form=options.form_of(seed))
        self._seed = seed
        self._small: dict[str, Path] = {}
        self._whole: Disk | None = None
        self._options = options
        self._items = draw_items(seed, options.rounds, events=options.events, seconds=options.seconds)
        self._provider = Provider(self.pipeline.addresses, seed, self.outcome.ledger)

    async def run(self) -> Outcome:
        """Run all rounds, or until one finds something wrong."""
        began = time.monotonic()
        try:
            async with self._disks(), self.pipeline:
                await self._rounds()
        finally:
            self.outcome.overdue = self.pipeline.overdue
            self.outcome.seconds = time.monotonic() - began
        return self.outcome

    @contextlib.asynccontextmanager
    async def _disks(self) -> AsyncIterator[None]:
        """Put on disks of its own what is to be filled, or to lose its power, for the length of the block.

        What is not to be filled has none: much traffic would fill it by itself.
        """
        data, wanted = self.pipeline.data, self._options.named
        async with contextlib.AsyncExitStack() as disks:
            if Kind.POWER in wanted:
                self._whole = await disks.enter_async_context(disk_of_its_own(data, keep=self._found_any))
            elif not self._options.kinds or Kind.DISK_FULL in wanted:
                self._small = await disks.enter_async_context(small_disks(data, keep=self._found_any))
            yield

    async def _rounds(self) -> None:
        found = self.outcome.found
        for number, items in enumerate(self._items):
            await self._round(number, items)
            if not self.pipeline.is_running:
                found.note(kinds.STUCK, "nothing runs any more, so that there is nothing to be judged")
                return
            await self._judge()
            self.outcome.rounds += 1
            if found:
                break
        code = await self.pipeline.stop()
        if code:
            found.note(kinds.STUCK, f"`todoke up` stopped with exit code {code}")

    def _found_any(self) -> bool:
        return bool(self.outcome.found)

    async def _round(self, number: int, items: list[Item]) -> None:
        options, outcome = self._options, self.outcome
        name = f"{self._seed}.{number}"
        faults = Faults(self.pipeline, outcome.tally, name, small=self._small, whole=self._whole)
        async with _beside(watch(self.pipeline, outcome.sight, self._outstanding)), _beside(faults.keep_up()):
            async with (
                asyncio.timeout(ROUND_WITHIN + self._options.events / EVENTS_A_SECOND),
                asyncio.TaskGroup() as group,
            ):
                group.create_task(self._provider.send(items, options.seconds))
                began = time.monotonic()
                for fault in self._plan(name):
                    await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
                    group.create_task(faults.inflict(fault))
            await self._until_idle()
        for trouble in unbounded(outcome.sight, len(outcome.ledger.accepted)):
            outcome.found.note(kinds.RESOURCES, trouble)
        for trouble in outcome.tally.unrecovered:
            outcome.found.note(kinds.STUCK, trouble)
        for words in outcome.tally.ended_by_itself:
            outcome.found.note(kinds.STUCK, f"`todoke up` ended by itself: {words}")

    def _plan(self, name: str) -> Sequence[Fault]:
        if self._options.plan:
            return self._options.plan
        impossible = set()
        if not self.pipeline.networks:
            impossible.add(Kind.NETWORK)
        if not self.pipeline.clocks:
            impossible.add(Kind.CLOCK)
        if not self._small:
            impossible.add(Kind.DISK_FULL)
        if self._whole is None:
            impossible.add(Kind.POWER)
        return draw_plan(
            name,
            self.pipeline.roles,
            seconds=self._options.seconds,
            pause=self._options.pause,
            kinds={kind for kind in self._options.kinds or Kind if kind not in impossible},
        )

    def _outstanding(self, count: int) -> bool:
        return self._provider.is_waiting or count < len(self.outcome.ledger.accepted)

    async def _until_idle(self) -> None:
        """Wait until the pipeline says itself that it is done, and hear whether it finds its books in order.

        What is in the journal of ingest is not in Kafka yet, so that all of the sender's is waited for first.
        """
        with contextlib.suppress(AssertionError):
            await eventually(self._has_all, within=self._options.idle_within)
        code, said = await self.pipeline.audit(wait=self._options.idle_within)
        if code:
            self.outcome.found.note(kinds.STUCK if "records behind:" not in said else kinds.AUDIT, said)

    async def _has_all(self) -> bool:
        (row,) = await rows(self.pipeline.clickhouse, "select count() as n from mail.events", patience=10)
        return bool(row["n"] >= len(self.outcome.ledger.accepted))

    async def _judge(self) -> None:
        address, found = self.pipeline.clickhouse, self.outcome.found
        tables = Tables(
            events=await rows(address, "select * from mail.events"),
            lifecycles=await rows(address, "select * from mail.lifecycles"),
            receipts=await rows(address, "select * from mail.receipts"),
            suppressions=await rows(address, "select * from mail.suppressions"),
            stats_hourly=await rows(address, "select * from mail.stats_hourly"),
            dead_letters=await rows(address, "select * replace (base64Encode(raw) as raw) from mail.dead_letters"),
        )
        self.outcome.rows = len(tables.events)
        poisoned = self.outcome.tally.poisoned
        judge_tables(tables, self.outcome.ledger, poisoned, found)
        kafka = self.pipeline.kafka
        topics = Topics(
            events=await committed_records(kafka, "mail.events"),
            lifecycles=await committed_records(kafka, "mail.lifecycles"),
            suppressions=await committed_records(kafka, "mail.suppressions"),
            deadletter=await committed_records(kafka, "mail.deadletter"),
        )
        judge_topics(tables.events, topics, poisoned, found)


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do something for the length of the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
