"""Taking posts in: from a body that was read to the certainty that all of it is durable."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ingest.harvest import Context, Harvest
from ingest.holds import Allowance, Hold
from ingest.journal.journal import Journal
from ingest.lanes import Lane
from ingest.metrics import IngestMetrics
from ingest.packing import pack
from ingest.posts import Post
from ingest.problems import NotDurableError, StoppingError
from ingest.publisher import Publisher
from ingest.settings import Durability, IngestSettings, SourceSettings
from ingest.teller import Teller
from ingest.watch import Watch
from ingest.ways import DirectWay, Way
from streams.contracts.clock import Clock, Deadline, rfc3339
from streams.contracts.errors import PublishError
from streams.contracts.receipts import receipt

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A post whose events are durable."""

    receipt: str
    accepted: int
    """Events and dead letters."""
    unreadable: int
    """Dead letters among them."""


class Intake:
    """Numbers posts, sends each on the way that its source wishes, and tells in the log which were answered."""

    def __init__(
        self,
        *,
        settings: IngestSettings,
        durabilities: Collection[Durability],
        publisher: Publisher,
        clock: Clock,
        metrics: IngestMetrics,
        version: str,
    ) -> None:
        """Describe it; nothing happens before `start`.

        Args:
            settings: of the server.
            durabilities: that the sources wish for.
            publisher: into Kafka.
            clock: tells the time.
            metrics: to be kept.
            version: of todoke, for dead letters.
        """
        self._settings = settings
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._version = version
        self._durabilities = durabilities
        self._journal = self._make_journal()
        self._ways: dict[Durability, Way] = {}
        self._teller = Teller(publisher, self._ways, clock=clock)
        self._shards = 0
        self._is_stopping = False
        self._watch = Watch(publisher, every=settings.probe_every)
        self._tasks: list[asyncio.Task[None]] = []
        self.allowance = Allowance(settings.max_bytes_in_flight)
        metrics.in_flight_bytes.set_function(lambda: self.allowance.taken)
        metrics.kafka_reachable.set_function(lambda: self._watch.is_reachable)

    def _make_journal(self) -> Journal | None:
        """Make the journal where one is configured, also if no source wishes for it: it may hold posts from before."""
        settings, metrics = self._settings, self._metrics
        if settings.journal is None:
            return None
        journal = Journal(
            folder=settings.journal, max_bytes=settings.journal_max_bytes, publisher=self._publisher, clock=self._clock
        )
        metrics.journal_limit_bytes.set(settings.journal_max_bytes)
        metrics.journal_bytes.set_function(lambda: journal.size)
        metrics.journal_posts.set_function(lambda: journal.posts)
        metrics.journal_oldest_seconds.set_function(lambda: journal.oldest_seconds)
        return journal

    async def start(self) -> None:
        """Open the journal, connect to Kafka, and open the ways.

        With a journal that has seen Kafka before, Kafka may be away.

        Raises:
            PublishError, ConfigurationError: as the publisher and the journal.
        """
        journal = self._journal
        if journal is not None:
            await journal.open()
        try:
            self._shards = await self._watch.connect()
        except PublishError as error:
            if journal is None or journal.shards is None:
                raise
            logger.warning("%s; until then posts go into the journal, where their source has it", error)
            self._shards = journal.shards
            self._watch.assume(self._shards)
        lanes = [
            Lane(
                shard,
                self._publisher,
                max_in_flight=self._settings.max_chunks_in_flight,
                clock=self._clock,
                metrics=self._metrics,
            )
            for shard in range(self._shards)
        ]
        self._ways[Durability.KAFKA] = DirectWay(lanes)
        if journal is not None:
            await journal.begin(self._shards)
            self._ways[Durability.JOURNAL] = journal
        self._tasks = [
            asyncio.create_task(self._teller.keep_telling(self._settings.tell_answered_every)),
            asyncio.create_task(self._watch.keep_looking()),
        ]

    async def wait(self) -> None:
        """Return when stopped.

        Raises:
            Exception: what ended the work by itself; a mistake.
        """
        tasks = [*self._tasks, *(self._journal.tasks if self._journal else ())]
        if not tasks:
            return
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            if not task.cancelled():
                task.result()

    async def stop(self, deadline: Deadline) -> None:
        """Let no more posts in, wait for those that are, tell that they were answered, and let go of Kafka.

        What is not durable when the deadline is over fails, and its sender is told to repeat it. The journal is drained
        if Kafka is there; what is in it when the deadline is over stays in it. May be called twice.
        """
        if self._is_stopping:
            return
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        try:
            async with asyncio.timeout(deadline.remaining()):
                await self._decided()
                if self._journal is None or self._watch.is_reachable:
                    await self.until_idle()
        except (TimeoutError, PublishError) as error:
            if self.allowance.posts:
                logger.warning("%d posts are not durable, their senders repeat them: %r", self.allowance.posts, error)
        await self._publisher.stop(deadline)
        if self._journal is not None:
            if self._journal.size:
                logger.info("%d bytes of posts stay in the journal until the next start", self._journal.size)
            await self._journal.close()

    def enter(self, durability: Durability) -> Hold:
        """Let a post in, before its body is read.

        Raises:
            StoppingError: this process is about to end.
            JournalFullError: there is no room in the journal.
            OverloadedError: on entering the hold, if there is no memory for it.
        """
        if self._is_stopping:
            raise StoppingError("this process is about to end: try again, another one will answer")
        self._ways[durability].check_room()
        return self.allowance.enter()

    def send(
        self, source: str, settings: SourceSettings, provider: str, harvest: Callable[[Context], Harvest], hold: Hold
    ) -> Awaitable[Accepted]:
        """Number a post and send everything that it holds on its way.

        Args:
            source: the source's name.
            settings: the source's.
            provider: the name that the events carry.
            harvest: reads the body in the context of its post.
            hold: the memory that the post takes; released when nothing of the post is under way any more.

        Returns:
            To be awaited at once, and cancelled when it takes too long: it is done when all of the post is durable, and
            raises `NotDurableError` if Kafka or the disk refuses a part.

        Raises:
            MalformedError, BodyTooLargeError: as ``harvest``.
            OverloadedError, JournalFullError: what became of the body takes more room than there is now.
        """
        way = self._ways[settings.durability]
        sequence = way.draw()
        post = Post(
            receipt=receipt(way.instance, sequence),
            source=source,
            received_at=rfc3339(self._clock.now()),
            on_settled=hold.release,
        )
        try:
            context = Context(
                source=source,
                provider=provider,
                zone=settings.zone,
                receipt=post.receipt,
                received_at=post.received_at,
                max_events=settings.max_body_events,
            )
            found = harvest(context)
            pieces = pack(found, post, shards=self._shards, batching=settings.batching, version=self._version)
            hold.exchange(sum(piece.size for piece in pieces))
            way.put(pieces)
        except BaseException:
            way.decide(sequence, abandoned=False)
            raise
        hold.hand_over()
        durable = post.expect(len(pieces))
        tally = Counter[str](reject.reason for reject in found.rejects)
        decide = partial(way.decide, sequence)
        return self._wait(decide, post, durable, events=len(found.events), dead_letters=tally)

    async def _wait(
        self,
        decide: Callable[..., None],
        post: Post,
        durable: asyncio.Future[None],
        *,
        events: int,
        dead_letters: Mapping[str, int],
    ) -> Accepted:
        """Wait until a post is durable, and decide it either way."""
        began = self._clock.monotonic()
        is_answered = False
        try:
            await durable
            is_answered = True
        except PublishError as error:
            raise NotDurableError("the events could not be stored: send the same post again") from error
        finally:
            if not is_answered:
                post.abandon()
            decide(abandoned=post.is_sent and not is_answered)
        self._metrics.accepted(post.source, events, dead_letters, seconds=self._clock.monotonic() - began)
        return Accepted(receipt=post.receipt, accepted=post.accepted, unreadable=post.unreadable)

    async def _decided(self) -> None:
        while self.allowance.posts:
            await self.allowance.quiet.wait()

    async def until_idle(self) -> None:
        """Return once every post is decided, the journal is empty, and all that is told."""
        while True:
            await self._decided()
            if self._journal is not None:
                await self._journal.drained()
            await self._teller.tell()
            if not self.allowance.posts and self._teller.has_told_all:
                return

    def _is_way_free(self, durability: Durability) -> bool:
        match durability:
            case Durability.KAFKA:
                return self._watch.is_reachable
            case Durability.JOURNAL:
                return self._journal is not None and not self._journal.is_nearly_full

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether posts would be taken now, of one source at least, and what stands in their way if not."""
        is_free = any(self._is_way_free(durability) for durability in self._durabilities)
        is_ready = is_free and not self._is_stopping and not self.allowance.is_nearly_spent
        journal = (
            {
                "journal_bytes": self._journal.size,
                "journal_max_bytes": self._settings.journal_max_bytes,
                "journal_oldest_seconds": round(self._journal.oldest_seconds, 3),
            }
            if self._journal
            else {}
        )
        return is_ready, {
            "ready": is_ready,
            **journal,
            "kafka": "reachable" if self._watch.is_reachable else "away",
            "stopping": self._is_stopping,
            "in_flight_bytes": self.allowance.taken,
            "max_bytes_in_flight": self.allowance.limit,
            "in_flight_posts": self.allowance.posts,
        }
