"""The way through the journal: posts are answered once they are on the disk, and go into Kafka from there, in order."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ingest.batching import NEVER
from ingest.journal.contents import Contents
from ingest.journal.entries import Chunk
from ingest.journal.filling import Filling, written
from ingest.journal.forwarder import AGAIN_AFTER, Forwarder
from ingest.journal.room import Room
from ingest.journal.store import StorageError, Store
from ingest.packing import Piece
from ingest.publisher import Publisher
from streams.contracts.clock import Clock
from streams.contracts.errors import ConfigurationError, PublishError
from streams.contracts.receipts import draw_instance
from streams.contracts.sections import Answered

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Journal:
    """A `ingest.ways.Way`: posts that wait at the same time share one commit, and whole chunks go into Kafka.

    What is sent and when it is removed:

    1. A chunk is complete: nothing will be added to it any more, here or after a restart.
    2. It is read from the disk and sent, again and again until Kafka has acknowledged it. Of each shard one is under
       way at a time, so that the order is kept.
    3. It is removed in the next commit.

    A process that dies between 2 and 3 leaves a chunk that the next one sends again. It holds the same receipts, parts
    and event ids, so its events are known already and the books leave its parts out as copies.

    All work with the file is done in one thread, so that the event loop never waits for the disk; everything else
    happens in the event loop, and what is known of the file's contents is changed only when a commit has returned.
    """

    def __init__(self, *, folder: Path, max_bytes: int, publisher: Publisher, clock: Clock) -> None:
        """Describe it; nothing happens before `open`.

        Args:
            folder: of the file; made where it is missing.
            max_bytes: that posts may take in it.
            publisher: into Kafka. It need not be started, but must be before anything leaves.
            clock: tells the time.
        """
        self._folder = folder
        self._clock = clock
        self._room = Room(max_bytes, folder, clock)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._store: Store | None = None
        self.shards: int | None = None
        """Partitions of the inbox when it was seen last; ``None`` if it never was."""
        self._instance = draw_instance()
        self._drawn = 0
        self._run = 0
        self._contents = Contents([], [])
        self._waiting: list[Piece] = []
        self._waiting_bytes = 0
        self._removable: list[Chunk] = []
        self._forgettable: list[int] = []
        self._filling = Filling(first=1)
        self._forwarder = Forwarder(publisher, read=self._read, sent=self._sent, clock=clock)
        self._is_flushing = False
        self._is_closing = False
        self._work = asyncio.Event()
        self._progress = asyncio.Event()
        self._committing: asyncio.Task[None] | None = None

    # Life.

    async def open(self) -> None:
        """Open the file and look through it.

        Raises:
            ConfigurationError: it cannot be used; the message says what to do.
        """
        self._store = store = await self._in_thread(Store.open, self._folder)
        self.shards = await self._in_thread(lambda: store.shards)
        self._contents = contents = Contents(await self._in_thread(store.chunks), await self._in_thread(store.runs))
        run = await self._in_thread(store.begin_run, self._instance)
        self._run = run.id
        self._forgettable += contents.begin_run(run)
        if contents.chunks:
            logger.info("the journal holds %d chunks, %d bytes, for Kafka", len(contents.chunks), contents.bytes)

    async def begin(self, shards: int) -> None:
        """Take posts, and send on what is there.

        Args:
            shards: how many the inbox has.

        Raises:
            ConfigurationError: it has fewer than when posts were taken that are still here.
        """
        store = self._opened()
        last = self._contents.last_shard
        if last >= shards:
            raise ConfigurationError(
                f"the inbox has {shards} partitions, and the journal in {self._folder} holds posts for partition "
                f"{last}: give the topic at least {last + 1} again, or start with another ingest.journal"
            )
        if shards != self.shards:
            await self._in_thread(store.note_shards, shards)
            self.shards = shards
        self._filling = Filling(first=self._contents.next_chunk)
        self._forwarder.start(shards)
        for found in self._contents.chunks.values():
            self._forwarder.put(found)
        self._committing = asyncio.create_task(self._keep_committing())

    @property
    def tasks(self) -> Sequence[asyncio.Task[None]]:
        """What runs; it ends by itself only through a mistake or a damaged file."""
        return () if self._committing is None else (self._committing, *self._forwarder.tasks)

    async def close(self) -> None:
        """Commit what waits, leave the rest where it is, and let go of the file. May be called twice."""
        await self._forwarder.stop()
        if self._committing is not None:
            self._is_closing = True
            self._work.set()
            await asyncio.wait({self._committing})
        store, self._store = self._store, None
        if store is not None:
            await self._in_thread(store.close)
        self._thread.shutdown()

    async def drained(self) -> None:
        """Complete the open chunks, and return when Kafka has everything, or nothing is being sent."""
        self._is_flushing = True
        self._work.set()
        try:
            while self.size and self.tasks and not any(task.done() for task in self.tasks):
                self._progress.clear()
                await self._progress.wait()
        finally:
            self._is_flushing = False

    # What intake asks.

    @property
    def instance(self) -> str:
        """As drawn for this process."""
        return self._instance

    @property
    def size(self) -> int:
        """Bytes that posts take."""
        return self._contents.bytes + self._waiting_bytes

    @property
    def is_nearly_full(self) -> bool:
        """Tell whether nine tenths are taken, when other processes should get the posts."""
        return self._room.is_nearly_full(self.size)

    @property
    def posts(self) -> int:
        """How many posts are not in Kafka."""
        return self._contents.posts

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest post waits; 0 if none does."""
        oldest = self._contents.oldest
        return 0.0 if oldest is None else max(0.0, self._clock.now().timestamp() - oldest / 1000)

    def check_room(self) -> None:
        """Refuse posts while the journal is full."""
        self._room.check(self.size)

    def draw(self) -> int:
        """Draw a number."""
        self._drawn += 1
        return self._drawn

    def put(self, pieces: Sequence[Piece]) -> None:
        """Have the pieces written in the next commit."""
        size = sum(piece.size for piece in pieces)
        self._room.check(self.size, size)
        self._waiting += pieces
        self._waiting_bytes += size
        self._work.set()

    def decide(self, sequence: int, *, abandoned: bool) -> None:
        """Do nothing: what is in the journal will be in Kafka, whatever its sender was told, and nothing else will."""

    def notes(self) -> Sequence[Answered]:
        """Tell of the posts that are in Kafka as a whole."""
        return self._contents.notes()

    def told(self, note: Answered) -> None:
        """Note it."""
        over = self._contents.told(note)
        if over:
            self._forgettable += over
            self._work.set()

    # Onto the disk.

    async def _keep_committing(self) -> None:
        """Commit what waits, again and again, until closed; in between, see which chunks are complete."""
        while True:
            await self._until_work()
            await self._commit()
            now = NEVER if self._is_flushing else self._clock.monotonic()
            for number in self._filling.complete(now, self._forwarder.is_busy):
                found = self._contents.chunks.get(number)
                if found is not None:  # else nothing of it could be written
                    self._forwarder.put(found)
            self._progress.set()
            self._room.watch(self.size)
            if self._is_closing and not self._waiting:
                return

    async def _until_work(self) -> None:
        """Wait for something to commit, or for a chunk to be complete."""
        seconds = self._filling.next_due(self._forwarder.is_busy) - self._clock.monotonic()
        if self._removable or self._forgettable:
            seconds = min(seconds, AGAIN_AFTER)
        try:
            async with asyncio.timeout(None if seconds == NEVER else max(0.0, seconds)):
                await self._work.wait()
        except TimeoutError:
            pass
        self._work.clear()

    async def _commit(self) -> None:
        """Write everything that waits in one transaction, and remove what is done with."""
        store = self._opened()
        pieces = self._take_waiting()
        removed, self._removable = self._removable, []
        forgotten, self._forgettable = self._forgettable, []
        if not pieces and not removed and not forgotten:
            return
        by_chunk = self._filling.sort(pieces, self._clock.monotonic())
        entries = written(by_chunk, run=self._run, at=int(self._clock.now().timestamp() * 1000))
        error: StorageError | None = None
        try:
            await self._in_thread(store.commit, entries, removed, forgotten)
        except StorageError as failure:
            error = failure
        self._waiting_bytes -= sum(piece.size for piece in pieces)
        if error is not None:
            await self._failed(error, pieces, removed, forgotten)
            return
        self._contents.remove(removed)
        self._contents.add(entries)
        for piece in pieces:
            piece.post.acknowledge()

    def _take_waiting(self) -> list[Piece]:
        """Take what waits, but for posts whose senders were told meanwhile to try again."""
        waiting, self._waiting = self._waiting, []
        moot = [piece for piece in waiting if piece.post.abandoned]
        for piece in moot:
            self._waiting_bytes -= piece.size
            piece.post.give_up(PublishError("abandoned"))
        return [piece for piece in waiting if not piece.post.abandoned] if moot else waiting

    async def _failed(
        self, error: StorageError, pieces: Sequence[Piece], removed: list[Chunk], forgotten: list[int]
    ) -> None:
        """Refuse what could not be written, and remove what may be removed: that may be all the room there is."""
        self._room.tell_of_refusal(str(error))
        for piece in pieces:
            piece.post.give_up(error)
        try:
            if pieces and (removed or forgotten):
                await self._in_thread(self._opened().commit, [], removed, forgotten)
                self._contents.remove(removed)
                return
        except StorageError:
            pass
        self._removable += removed
        self._forgettable += forgotten

    async def _read(self, found: Chunk) -> list[bytes]:
        return await self._in_thread(self._opened().read, found.number)

    def _sent(self, found: Chunk) -> None:
        self._removable.append(found)
        self._work.set()

    async def _in_thread(self, call: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    def _opened(self) -> Store:
        if self._store is None:
            raise StorageError("the journal is not open")
        return self._store
