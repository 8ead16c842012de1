"""The books: what was accepted, against what became of it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.progress import Stage, stages
from deploy.settings import Settings
from deploy.tables import Tables
from streams.contracts.clock import Clock, Deadline

NAMED = 20
"""Receipts that are named when something is missing."""
LOOK_AGAIN = 0.5
"""Seconds between two looks whether everything has been worked off."""

RECEIPTS = """
select
    status,
    count() as receipts,
    sum(accepted) as accepted,
    sum(`unique`) as `unique`,
    sum(duplicate) as duplicate,
    sum(dead_lettered) as dead_lettered
from receipts
group by status
"""
UNBALANCED = """
select receipt, source, toString(received_at) as received_at, accepted, `unique`, duplicate, dead_lettered, status
from receipts
where status in ('missing', 'excess')
order by received_at
limit {limit:UInt32}
"""
ROWS = """
select
    (select count() from events) as events,
    (select countIf(part = 0) from dead_letters) as dead_letters,
    (select count() from losses) as losses
"""
LOSSES = """
select topic, shard, first, last, toString(found_at) as found_at
from losses
order by losses.found_at
limit {limit:UInt32}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """Sums over the receipts of one status."""

    receipts: int = 0
    accepted: int = 0
    unique: int = 0
    duplicate: int = 0
    dead_lettered: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Books:
    """Everything that must fit together."""

    stages: tuple[Stage, ...]
    by_status: Mapping[str, Count]
    """Over all receipts: ``balanced``, ``missing``, ``excess``, ``unanswered``."""
    events: int
    """Rows in the table."""
    dead_letters: int
    """Rows in the table, the further parts of long ones left out."""
    losses: int
    """Spans of a log that were gone before they could be read."""
    missing: tuple[Mapping[str, Any], ...] = ()
    """The first receipts that lack something, or have too much."""
    lost: tuple[Mapping[str, Any], ...] = ()
    """The first spans."""

    @property
    def total(self) -> Count:
        """Sums over all receipts."""
        counts = self.by_status.values()
        return Count(
            receipts=sum(count.receipts for count in counts),
            accepted=sum(count.accepted for count in counts),
            unique=sum(count.unique for count in counts),
            duplicate=sum(count.duplicate for count in counts),
            dead_lettered=sum(count.dead_lettered for count in counts),
        )

    @property
    def is_idle(self) -> bool:
        """Tell whether every stage has worked off everything."""
        return not any(stage.behind for stage in self.stages)

    def problems(self) -> list[str]:
        """Say what does not fit, a sentence each."""
        total = self.total
        missing = self.by_status.get("missing", Count())
        found = [f"{stage.name} is {stage.behind} records behind" for stage in self.stages if stage.behind]
        if missing.receipts:
            absent = missing.accepted - missing.unique - missing.duplicate - missing.dead_lettered
            found.append(f"{missing.receipts} answered posts are not complete: {absent} of their events are missing")
        excess = self.by_status.get("excess", Count())
        if excess.receipts:
            surplus = excess.unique + excess.duplicate + excess.dead_lettered - excess.accepted
            found.append(
                f"{excess.receipts} posts have more than they brought: {surplus} of their events were counted twice"
            )
        if self.events != total.unique:
            found.append(f"events: {self.events} rows, where the receipts count {total.unique} unique ones")
        if self.dead_letters != total.dead_lettered:
            found.append(f"dead letters: {self.dead_letters} rows, where the receipts count {total.dead_lettered}")
        if self.losses:
            found.append(f"{self.losses} spans of the log were gone before they could be read")
        return found


async def audit(settings: Settings, *, wait: float, clock: Clock) -> Books:
    """Read the books.

    Args:
        settings: where Kafka and ClickHouse are.
        wait: seconds to wait until everything is worked off.
        clock: for that.

    Raises:
        TodokeError: Kafka or ClickHouse does not answer.
    """
    deadline = Deadline(wait, clock)
    while True:
        positions = await _stages(settings)
        if not any(stage.behind for stage in positions) or not deadline.remaining():
            break
        await asyncio.sleep(min(LOOK_AGAIN, deadline.remaining()))
    return await _read(settings, positions)


async def _stages(settings: Settings) -> tuple[Stage, ...]:
    topics = settings.topics.topics()
    return tuple(await stages(settings.kafka, topics, settings.sink_groups()))


async def _read(settings: Settings, positions: tuple[Stage, ...]) -> Books:
    async with Tables(settings.clickhouse) as tables:
        receipts = {row.pop("status"): Count(**row) for row in await tables.rows(RECEIPTS)}
        (rows,) = await tables.rows(ROWS)
        limit = str(NAMED)
        missing = await tables.rows(UNBALANCED, limit=limit) if receipts.keys() & {"missing", "excess"} else []
        lost = await tables.rows(LOSSES, limit=limit) if rows["losses"] else []
    return Books(stages=positions, by_status=receipts, missing=tuple(missing), lost=tuple(lost), **rows)
