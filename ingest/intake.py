"""Taking posts in: from a body that was read to the certainty that all of it is durable."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ingest.answered import Ledger
from ingest.harvest import Context, Harvest
from ingest.holds import Allowance, Hold
from ingest.lanes import Lane
from ingest.metrics import IngestMetrics
from ingest.packing import pack
from ingest.posts import Post
from ingest.problems import NotDurableError, StoppingError
from ingest.publisher import Publisher
from ingest.settings import IngestSettings, SourceSettings
from streams.contracts import codec
from streams.contracts.clock import Clock, Deadline, rfc3339
from streams.contracts.errors import PublishError
from streams.contracts.receipts import draw_instance, receipt
from streams.contracts.sections import Inbox

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A post whose events are durable."""

    receipt: str
    accepted: int
    """Events and dead letters."""


class Intake:
    """Numbers posts, sends them through the lanes of their shards, and tells in the log which were answered."""

    def __init__(
        self, *, settings: IngestSettings, publisher: Publisher, clock: Clock, metrics: IngestMetrics, version: str
    ) -> None:
        self._settings = settings
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._version = version
        self._ledger = Ledger(draw_instance())
        self._lanes: tuple[Lane, ...] = ()
        self._is_stopping = False
        self._is_reachable = False
        self._tasks: list[asyncio.Task[None]] = []
        self.allowance = Allowance(settings.max_bytes_in_flight)
        metrics.in_flight_bytes.set_function(lambda: self.allowance.taken)
        metrics.kafka_reachable.set_function(lambda: self._is_reachable)

    async def start(self) -> None:
        """Connect to Kafka and open the lanes.

        Raises:
            PublishError, ConfigurationError: as the publisher.
        """
        await self._publisher.start()
        self._lanes = tuple(
            Lane(
                shard,
                self._publisher,
                max_in_flight=self._settings.max_chunks_in_flight,
                clock=self._clock,
                metrics=self._metrics,
            )
            for shard in range(self._publisher.shards)
        )
        self._is_reachable = True
        self._tasks = [asyncio.create_task(self._keep_telling()), asyncio.create_task(self._keep_probing())]

    async def wait(self) -> None:
        """Return when stopped.

        Raises:
            Exception: what ended the work by itself; a mistake.
        """
        if not self._tasks:
            return
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            if not task.cancelled():
                task.result()

    async def stop(self, deadline: Deadline) -> None:
        """Let no more posts in, wait for those that are, tell that they were answered, and let go of Kafka.

        What is not durable when the deadline is over fails, and its sender is told to repeat it. May be called twice.
        """
        if self._is_stopping:
            return
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        try:
            async with asyncio.timeout(deadline.remaining()):
                await self.until_idle()
        except (TimeoutError, PublishError) as error:
            logger.warning("%d posts are not durable, their senders repeat them: %r", self.allowance.posts, error)
        await self._publisher.stop(deadline)

    def enter(self) -> Hold:
        """Let a post in, before its body is read.

        Raises:
            StoppingError: this process is about to end.
            OverloadedError: on entering the hold, if there is no memory for it.
        """
        if self._is_stopping:
            raise StoppingError("this process is about to end: try again, another one will answer")
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
            raises `NotDurableError` if Kafka refuses a part.

        Raises:
            MalformedError, BodyTooLargeError: as ``harvest``.
            OverloadedError: what became of the body takes more memory than there is now.
        """
        sequence = self._ledger.open()
        post = Post(
            receipt=receipt(self._ledger.instance, sequence),
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
            pieces = pack(found, post, shards=self._publisher.shards, batching=settings.batching, version=self._version)
            hold.exchange(sum(piece.size for piece in pieces))
        except BaseException:
            self._ledger.decide(sequence, abandoned=False)
            raise
        hold.hand_over()
        durable = post.expect(len(pieces))
        for piece in pieces:
            self._lanes[piece.shard].put(piece)
        tally = Counter[str](reject.reason for reject in found.rejects)
        return self._wait(sequence, post, durable, events=len(found.events), dead_letters=tally)

    async def _wait(
        self, sequence: int, post: Post, durable: asyncio.Future[None], *, events: int, dead_letters: Mapping[str, int]
    ) -> Accepted:
        """Wait until a post is durable, and decide it either way."""
        began = self._clock.monotonic()
        is_answered = False
        try:
            await durable
            is_answered = True
        except PublishError as error:
            raise NotDurableError("Kafka refused to store the events: send the same post again") from error
        finally:
            if not is_answered:
                post.abandon()
            self._ledger.decide(sequence, abandoned=post.is_sent and not is_answered)
        self._metrics.accepted(post.source, events, dead_letters, seconds=self._clock.monotonic() - began)
        return Accepted(receipt=post.receipt, accepted=post.accepted)

    async def tell_answered(self) -> None:
        """Tell in the log which posts were decided since it was told last; returns once that is durable.

        Raises:
            PublishError: as the publisher.
        """
        note = self._ledger.note()
        if note is None:
            return
        line = orjson.dumps(note, option=orjson.OPT_APPEND_NEWLINE)
        value = codec.encode({"received_at": rfc3339(self._clock.now())}, {Inbox.ANSWERED: line})
        await self._publisher.publish(int(note["instance"][:8], 16) % self._publisher.shards, value)
        self._ledger.told(note)

    async def _keep_telling(self) -> None:
        """Tell it again and again, for ever."""
        while True:
            await asyncio.sleep(self._settings.tell_answered_every)
            try:
                await self.tell_answered()
            except PublishError as error:
                logger.debug("which posts were answered could not be told, it will be next time: %s", error)

    async def _keep_probing(self) -> None:
        """Look again and again whether Kafka answers, for ever; logs changes."""
        while True:
            await asyncio.sleep(self._settings.probe_every)
            is_reachable = await self._publisher.is_reachable()
            if is_reachable != self._is_reachable:
                self._is_reachable = is_reachable
                if is_reachable:
                    logger.info("Kafka answers again")
                else:
                    logger.warning("Kafka does not answer: posts are answered 503 until it does")

    async def until_idle(self) -> None:
        """Return once every post is decided and that is told."""
        while self.allowance.posts or self._ledger.note() is not None:
            await self.allowance.quiet.wait()
            await self.tell_answered()

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Tell whether a post would be taken now, and what stands in its way if not."""
        is_ready = self._is_reachable and not self._is_stopping and not self.allowance.is_nearly_spent
        return is_ready, {
            "ready": is_ready,
            "kafka": "reachable" if self._is_reachable else "away",
            "stopping": self._is_stopping,
            "in_flight_bytes": self.allowance.taken,
            "max_bytes_in_flight": self.allowance.limit,
            "in_flight_posts": self.allowance.posts,
        }
