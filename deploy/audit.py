"""The books: what was accepted, against what became of it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.arrivals import located
from deploy.progress import Stage, stages
from deploy.settings import Settings
from deploy.span import ALL, Span
from deploy.tables import Tables
from sinks.position import Position
from sinks.writer import Stored
from streams.contracts.clock import Clock, Deadline

NAMED = 20
"""Receipts that are named when something is missing."""
LOOK_AGAIN = 0.5
"""Seconds between two looks whether everything has been worked off."""

ODD = """(
    receipt_parts.`unique` + receipt_parts.duplicate + receipt_parts.dead_lettered != receipt_parts.accepted
    or bitCount(numbers) != arrivals
)"""
"""Posts that need a closer look. All others are balanced, and the closer look would take ten times as long."""
SUMS = """
select
    {odd} as is_odd,
    count() as receipts,
    sum(accepted) as accepted,
    sum(`unique`) as `unique`,
    sum(duplicate) as duplicate,
    sum(dead_lettered) as dead_lettered
from receipt_parts final
where {condition}
group by is_odd
settings use_skip_indexes_if_final_exact_mode = 0
"""
"""All rows of a post carry the time at which it was received: none of them lies where the index finds no such time."""
ODD_ONES = """
select
    status,
    count() as receipts,
    sum(accepted) as accepted,
    -- Here as in the parts: what ClickHouse refused is counted apart.
    sum(`unique` + refused) as `unique`,
    sum(duplicate) as duplicate,
    sum(dead_lettered - refused) as dead_lettered
from receipts
where receipt in (select receipt from receipt_parts final where {condition})
group by status
"""
UNBALANCED = """
select
    receipt, source, toString(received_at) as received_at, accepted, `unique`, duplicate, dead_lettered, status, places
from receipts
where receipt in (select receipt from receipt_parts final where {condition}) and status in ('missing', 'excess')
order by receipts.received_at
limit {{limit:UInt32}}
"""
EVENTS = "select count() as events from events where {condition}"
DEAD_LETTERS = """
select
    uniqExactIf((receipt, number), receipt != '' and reason != 'row_refused') as letters,
    -- What the worker gives up on stands in one letter for many events, or is one line of a chunk.
    sumIf(
        multiIf(
            reason = 'row_refused', 0,
            reason = 'chunk_poison', countSubstrings(raw, '\n'),
            startsWith(detail, 'a line of the chunk') and part = 0, 1,
            0
        ),
        receipt = ''
    ) as of_chunks,
    countIf(reason = 'row_refused' and part = 0 and startsWith(detail, 'events: ')) as refused
from dead_letters
where {condition}
"""
HOUR_THAT_DIFFERS = """
select toString(hour) as since, toString(hour + interval 1 hour) as until, sum(held) as held, sum(counted) as counted
from
(
    select toStartOfHour(received_at) as hour, count() as held, 0 as counted
    from events where {condition} group by hour
    union all
    select toStartOfHour(received_at) as hour, 0 as held, sum(`unique`) as counted
    from receipt_parts where {condition} group by hour
)
group by hour
having held != counted
order by hour
limit 1
"""
ROWS_THAT_DIFFER = """
select receipt, sum(held) as `rows`, sum(counted) as `unique`, groupUniqArrayArray(at) as places
from
(
    select receipt, count() as held, 0 as counted, []::Array(Tuple(
        part UInt32, shard UInt32, `offset` Int64, events UInt64, dead_letters UInt64
    )) as at
    from events where {condition} group by receipt
    union all
    select receipt, 0 as held, sum(`unique`) as counted, groupUniqArrayArray(places) as at
    from receipt_parts where {condition} group by receipt
)
group by receipt
having `rows` != `unique`
order by receipt
limit {{limit:UInt32}}
"""
GENERATION = "select max(generation) as generation from generations"
REACHED = "select shard, epoch, max(stamp) as stamp from reached group by shard, epoch"
BLOCKS = "select distinct shard from blocks"
LOSSES = """
select topic, shard, first, last, toString(found_at) as found_at, count() over () as spans
from losses
where {condition}
order by losses.found_at
limit {{limit:UInt32}}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """Sums over the receipts of one status."""

    receipts: int = 0
    accepted: int = 0
    unique: int = 0
    duplicate: int = 0
    dead_lettered: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})

    def __sub__(self, other: "Count") -> "Count":
        return Count(**{name: getattr(self, name) - getattr(other, name) for name in self.__slots__})


@dataclass(frozen=True, kw_only=True, slots=True)
class Books:
    """Everything that must fit together."""

    span: Span = ALL
    """Of the posts that are looked at, by the time at which they were received."""
    stages: tuple[Stage, ...]
    by_status: Mapping[str, Count]
    """Over the receipts of the span: ``balanced``, ``missing``, ``excess``, ``unanswered``."""
    events: int
    """Rows in the table, and rows that ClickHouse refused and that are dead letters."""
    dead_letters: int
    """Events and bodies that are in the table, those in letters for a whole chunk included."""
    losses: int
    """Spans of a log that were gone before they could be read."""
    refused: int = 0
    """How many of the events are no rows, since ClickHouse refused them, but dead letters."""
    missing: tuple[Mapping[str, Any], ...] = ()
    """The first receipts that lack something, or have too much."""
    rows_missing: tuple[Mapping[str, Any], ...] = ()
    """The first receipts, of the first hour in question, with more or fewer rows than they count."""
    lost: tuple[Mapping[str, Any], ...] = ()
    """The first spans."""
    emptied: tuple[int, ...] = ()
    """Shards of which the tables lack something that the sink has brought: see `sinks.writer.Stored.has_lost`."""
    topics: tuple[str, ...] = ()
    """What the public topics hold otherwise than the tables; a sentence each."""

    @property
    def total(self) -> Count:
        """Sums over all receipts."""
        return sum(self.by_status.values(), Count())

    @property
    def is_idle(self) -> bool:
        """Tell whether every stage has worked off everything."""
        return not any(stage.behind for stage in self.stages)

    @property
    def is_open(self) -> bool:
        """Tell whether what does not fit may only be under way: something lacks, and a stage is behind."""
        return not self.is_idle and bool(self._lacks()) and not self._surplus()

    def problems(self) -> list[str]:
        """Say what does not fit, a sentence each. Where nothing new can come into the span, who is behind is none."""
        found = [*self._lacks(), *self._surplus()]
        if found or self.span.until is None:
            found = [f"{stage.name} is {stage.behind} records behind" for stage in self.stages if stage.behind] + found
        return found

    def _lacks(self) -> list[str]:
        found = []
        total, missing = self.total, self.by_status.get("missing", Count())
        if missing.receipts:
            absent = missing.accepted - missing.unique - missing.duplicate - missing.dead_lettered
            found.append(f"{missing.receipts} answered posts are not complete: {absent} of their events are missing")
        if self.events < total.unique:
            found.append(f"events: {self.events} rows, where the receipts count {total.unique} unique ones")
        if self.dead_letters < total.dead_lettered:
            found.append(f"dead letters: {self.dead_letters} rows, where the receipts count {total.dead_lettered}")
        return [*found, *self.topics]

    def _surplus(self) -> list[str]:
        found = []
        if self.emptied:
            found.append(
                f"the tables lack something that the sink has brought of shards {', '.join(map(str, self.emptied))}: "
                "they were emptied or brought back from an older copy, or it is another database; run `todoke rebuild`"
            )
        total, excess = self.total, self.by_status.get("excess", Count())
        if excess.receipts:
            surplus = excess.unique + excess.duplicate + excess.dead_lettered - excess.accepted
            found.append(
                f"{excess.receipts} posts have more than they brought: {surplus} of their events were counted twice"
            )
        if self.events > total.unique:
            found.append(f"events: {self.events} rows, where the receipts count {total.unique} unique ones")
        if self.dead_letters > total.dead_lettered:
            found.append(f"dead letters: {self.dead_letters} rows, where the receipts count {total.dead_lettered}")
        if self.losses:
            found.append(f"{self.losses} spans of the log were gone before they could be read")
        return found


async def audit(settings: Settings, *, wait: float, clock: Clock, span: Span = ALL) -> Books:
    """Read the books.

    Args:
        settings: where Kafka and ClickHouse are.
        wait: seconds to wait until everything is worked off.
        clock: for that.
        span: of the posts, by the time at which they were received; all of them unless told otherwise.

    Raises:
        TodokeError: Kafka or ClickHouse does not answer.
    """
    deadline = Deadline(wait, clock)
    while True:
        positions = await _stages(settings)
        if not any(stage.behind for stage in positions) or not deadline.remaining():
            break
        await asyncio.sleep(min(LOOK_AGAIN, deadline.remaining()))
    return await read_tables(settings, positions, span)


async def _stages(settings: Settings) -> tuple[Stage, ...]:
    topics = settings.topics.topics()
    return tuple(await stages(settings.kafka, topics, settings.sink_groups()))


async def read_tables(settings: Settings, positions: tuple[Stage, ...], span: Span) -> Books:
    """Read what ClickHouse says; who is behind was read before, from Kafka."""
    received = span.condition("received_at")
    odd, limit = f"({received}) and {ODD}", str(NAMED)
    async with Tables(settings.clickhouse) as tables:
        sums = {row.pop("is_odd"): Count(**row) for row in await tables.rows(SUMS.format(odd=ODD, condition=received))}
        statuses: dict[str, Count] = {}
        if 1 in sums:
            rows = await tables.rows(ODD_ONES.format(condition=odd))
            statuses = {row.pop("status"): Count(**row) for row in rows}
        if 0 in sums:
            statuses["balanced"] = sums[0] + statuses.get("balanced", Count())
        missing: list[dict[str, Any]] = []
        if statuses.keys() & {"missing", "excess"}:
            missing = await located(tables, await tables.rows(UNBALANCED.format(condition=odd), limit=limit))
        (rows_,) = await tables.rows(EVENTS.format(condition=received))
        (letters,) = await tables.rows(DEAD_LETTERS.format(condition=received))
        held = rows_["events"] + letters["refused"]
        differing: list[dict[str, Any]] = []
        if held != sum(count.unique for count in statuses.values()):
            differing = await _rows_that_differ(tables, received)
        emptied = await _emptied(tables, positions)
        lost = await tables.rows(LOSSES.format(condition=span.condition("losses.found_at")), limit=limit)
    losses = lost[0]["spans"] if lost else 0
    return Books(
        span=span,
        stages=positions,
        by_status=statuses,
        events=held,
        refused=letters["refused"],
        dead_letters=letters["letters"] + letters["of_chunks"],
        losses=losses,
        emptied=emptied,
        missing=tuple(missing),
        rows_missing=tuple(differing),
        lost=tuple({name: value for name, value in row.items() if name != "spans"} for row in lost),
    )


async def _emptied(tables: Tables, positions: tuple[Stage, ...]) -> tuple[int, ...]:
    """Compare what the sink says that it has brought with what the tables know of: the same nothing would balance."""
    (latest,) = await tables.rows(GENERATION)
    with_blocks = {row["shard"] for row in await tables.rows(BLOCKS)}
    reached: dict[int, dict[str, int]] = {}
    for row in await tables.rows(REACHED):
        reached.setdefault(row["shard"], {})[row["epoch"]] = int(row["stamp"])

    def stored(shard: int) -> Stored:
        position = Position(offset=0) if shard in with_blocks else None  # which one makes no difference here
        return Stored(generation=latest["generation"], position=position, reached=reached.get(shard, {}))

    return tuple(
        shard
        for stage in positions
        if stage.name == "sink-clickhouse"
        for shard, committed in sorted(stage.positions.items())
        if stored(shard).has_lost(committed)
    )


async def _rows_that_differ(tables: Tables, received: str) -> list[dict[str, Any]]:
    """Find the first hour whose rows are not as many as its receipts count, and in it the receipts."""
    hours = await tables.rows(HOUR_THAT_DIFFERS.format(condition=received))
    if not hours:
        return []
    hour = f"({received}) and received_at >= '{hours[0]['since']}' and received_at < '{hours[0]['until']}'"
    return await located(tables, await tables.rows(ROWS_THAT_DIFFER.format(condition=hour), limit=str(NAMED)))
