"""Making the tables anew: empty, of a new generation, so that the sinks fill them from the beginning of the outbox.

1. *Announce*: write down a new generation that is not ready. A sink that takes a partition over from now on waits.
2. *Gather*: join the sinks' group. Kafka has every sink let go of its partitions first, which ends what it is writing.
3. *Wait* until ClickHouse runs no insert any more that a sink has left behind.
4. *Empty* the tables.
5. *Release*: set the group's positions back, write down that the generation is ready, and leave the group. A position
   of another generation counts for nothing, and so does a token: ClickHouse would drop what comes under one that it has
   seen, although the rows are gone.

Of two at the same time the one that announced first stops at its next statement: it would empty what the sinks have
begun to fill for the other one.

Killed anywhere on the way, the sinks wait, and the same again does it all. A sink that stood still for longer than its
session (a stopped process, a frozen machine) and had an insert ready is not heard of by anybody: stop such a sink for
good before.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from clickhouse_connect.driver import AsyncClient

from sinks.clickhouse import migrations
from sinks.clickhouse.connection import connect
from sinks.clickhouse.failures import translated
from sinks.errors import HandedOverError, RefusedError, UnreachableError
from sinks.group import OutboxGroup
from sinks.position import Position
from sinks.settings import ClickHouseConnection, ClickHouseSinkSettings
from streams.contracts.chain import RESTORING
from streams.contracts.clock import Deadline
from streams.contracts.kafka import KafkaConnection
from streams.contracts.outbox import read_outbox
from streams.contracts.topics import OUTBOX_LIMIT, Topics

logger = logging.getLogger(__name__)

TABLES = (
    *("events", "lifecycle_states", "suppression_states", "hourly_counts"),
    *("receipt_parts", "answered_posts", "dead_letters", "losses", "blocks", "reached", "refusals"),
)
"""Everything that is made of the outbox."""

LOOK_AGAIN = 0.2
"""Seconds between two looks whether something has come to its end."""

LOOKS = 5
"""Looks in a row that must find no insert: one may just be on its way into the server."""

NOTE = "insert into generations (generation, ready) values ({generation:UInt32}, {ready:Bool})"
INSERTS = """
    select count() from system.processes where current_database = {database:String} and query_kind like '%Insert%'
"""


class Rebuild:
    """One making anew, and how far the sinks are with filling the tables again."""

    def __init__(
        self,
        *,
        kafka: KafkaConnection,
        topics: Topics,
        clickhouse: ClickHouseConnection,
        settings: ClickHouseSinkSettings,
    ) -> None:
        """Describe it.

        Args:
            kafka: where the outbox is.
            topics: names of the topics.
            clickhouse: where the tables are.
            settings: of the sinks that fill them.
        """
        self._kafka = kafka
        self._topics = topics
        self._clickhouse = clickhouse
        self._settings = settings.model_copy(update={"instance": None})

    async def run(self, deadline: Deadline, *, partial: bool = False) -> int:
        """Empty the tables; tell the new generation.

        Args:
            deadline: until which the sinks must have let go.
            partial: do it even where the outbox has lost its beginning, or was restored from these very tables, and the
                tables lose what came before.

        Raises:
            RefusedError: the outbox does not hold everything, and ``partial`` was not said; or another one has begun.
            UnreachableError: the sinks do not let go in time.
            TodokeError: ClickHouse or Kafka does not answer.
        """
        (await migrations.check(self._clickhouse)).require(self._clickhouse.database)
        client = await connect(self._clickhouse)
        group = self._group()
        gathered = asyncio.Event()
        try:
            await group.connect()
            if not partial:
                await self._require_whole(await group.begins())
            # 1. Announce
            generation = await self._announce(client, group)
            # 2. Gather
            group.join(_nothing_to_let_go, lambda _: gathered.set())
            await _by(deadline, gathered.wait(), "the sinks do not let go of their partitions")
            # 3. Wait
            await _by(deadline, self._no_insert(client), "ClickHouse still runs inserts of a sink")
            # 4. Empty
            for table in TABLES:
                await self._require_latest(client, generation)
                await self._do(client, f"truncate table `{table}`")
            # 5. Release
            await self._require_latest(client, generation)
            await _by(deadline, self._set_back(group, generation), "the group is being shared out again and again")
            await self._do(client, NOTE, generation=generation, ready=True)
        finally:
            await group.leave()
            await client.close()
        logger.info("The tables of %s are empty and wait for the sinks", self._clickhouse.database)
        return generation

    async def behind(self, generation: int) -> int:
        """Tell how many records of the outbox the tables of a generation do not have yet.

        Raises:
            TodokeError: Kafka does not answer.
        """
        group = self._group()
        try:
            await group.connect()
            ends = await group.ends()
            committed = await group.committed(ends)
        finally:
            await group.leave()
        done = {partition: found.offset for partition, found in committed.items() if found.generation == generation}
        return sum(max(0, end - done.get(partition, 0)) for partition, end in ends.items())

    def _group(self) -> OutboxGroup:
        outbox = self._topics.outbox
        name = self._settings.group_name(outbox.name, "clickhouse")
        return OutboxGroup(kafka=self._kafka, topic=outbox, group=name, settings=self._settings)

    async def _require_whole(self, begins: Mapping[int, int]) -> None:
        """Raise where the outbox is not all that there ever was."""
        outbox = self._topics.outbox.name
        told = [f"partition {partition} begins at {begin}" for partition, begin in sorted(begins.items()) if begin]
        async with AIOKafkaConsumer(
            **self._kafka.client_options(), max_partition_fetch_bytes=1, fetch_max_bytes=OUTBOX_LIMIT
        ) as consumer:
            places = [TopicPartition(outbox, partition) for partition in begins]
            ends = await consumer.end_offsets(places)
            for place in places:
                if ends[place] and not begins[place.partition]:
                    consumer.assign([place])
                    consumer.seek(place, 0)
                    first = read_outbox((await consumer.getone()).value)
                    while first is None and await consumer.position(place) < ends[place]:
                        first = read_outbox((await consumer.getone()).value)
                    if first is not None and first[0].header.get(RESTORING):
                        told.append(f"partition {place.partition} was restored from ClickHouse")
        if told:
            raise RefusedError(
                f"{outbox} does not hold everything any more ({', '.join(told)}): the tables would lose what was"
                " before. Nothing was changed; give --partial if that is meant"
            )

    async def _announce(self, client: AsyncClient, group: OutboxGroup) -> int:
        with translated(self._clickhouse):
            found = await client.query("select max(generation) from generations")
        # Where that table was emptied, too, the sinks' positions know how far it had come.
        committed = await group.committed(await group.ends())
        generation = max([int(found.result_rows[0][0]), *(known.generation for known in committed.values())]) + 1
        await self._do(client, NOTE, generation=generation, ready=False)
        return generation

    async def _require_latest(self, client: AsyncClient, generation: int) -> None:
        """Raise where somebody else has announced a later generation."""
        with translated(self._clickhouse):
            found = await client.query("select max(generation) from generations")
        if found.result_rows[0][0] > generation:
            raise RefusedError(
                "another `todoke rebuild` has begun since, so this one stops. Wait until the other one has ended; if it"
                " was stopped, too, the sinks wait: run the same again then"
            )

    async def _set_back(self, group: OutboxGroup, generation: int) -> None:
        positions = dict.fromkeys(await group.ends(), Position(offset=0, generation=generation))
        while True:
            try:
                await group.commit_for_others(positions)
            except HandedOverError:
                await asyncio.sleep(LOOK_AGAIN)
            else:
                return

    async def _no_insert(self, client: AsyncClient) -> None:
        quiet = 0
        while quiet < LOOKS:
            with translated(self._clickhouse):
                found = await client.query(INSERTS, parameters={"database": self._clickhouse.database})
            quiet = 0 if found.result_rows[0][0] else quiet + 1
            await asyncio.sleep(LOOK_AGAIN)

    async def _do(self, client: AsyncClient, statement: str, **parameters: object) -> None:
        with translated(self._clickhouse):
            await client.command(statement, parameters=parameters)


async def _nothing_to_let_go() -> None:
    """Nothing is read by a member that only gathers the others."""


async def _by(deadline: Deadline, step: Coroutine[Any, Any, object], complaint: str) -> None:
    try:
        await asyncio.wait_for(step, deadline.remaining())
    except TimeoutError as error:
        raise UnreachableError(f"{complaint}: the sinks wait now; run the same again") from error
