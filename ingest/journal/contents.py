"""What is known of the journal's file: its chunks, and how far the posts of each run have come. Pure."""

from collections.abc import Iterable, Sequence

from ingest.journal.entries import Chunk, Entry, Run
from streams.contracts.sections import Answered


class Contents:
    """The chunks on the disk and the runs of ingest that accepted their posts, by what the commits so far have done."""

    def __init__(self, chunks: Iterable[Chunk], runs: Iterable[Run]) -> None:
        """Take in what was found at the start."""
        self.chunks = {chunk.number: chunk for chunk in chunks}
        self.bytes = sum(chunk.size for chunk in self.chunks.values())
        """That all chunks count."""
        self._runs = {run.id: run for run in runs}
        self._told: dict[str, int] = {}
        self._current: Run | None = None
        for chunk in self.chunks.values():
            run = self._runs[chunk.run]
            run.last_post = max(run.last_post, chunk.last_post)

    def begin_run(self, run: Run) -> list[int]:
        """Have all that is added from now on be of a new run.

        Returns:
            Former runs that can be forgotten, since they accepted nothing.
        """
        empty = [former.id for former in self._runs.values() if not former.last_post]
        for former in empty:
            del self._runs[former]
        self._current = self._runs[run.id] = run
        return empty

    def add(self, entries: Iterable[Entry]) -> None:
        """Take it that these are on the disk."""
        for entry in entries:
            chunk = self.chunks.get(entry.chunk)
            if chunk is None:
                chunk = self.chunks[entry.chunk] = Chunk.begun_by(entry)
            chunk.add(entry)
            self.bytes += entry.size
            run = self._runs[entry.run]
            run.last_post = max(run.last_post, entry.last_post)

    def remove(self, chunks: Iterable[Chunk]) -> None:
        """Take it that these are no longer there, since Kafka has them."""
        for chunk in chunks:
            del self.chunks[chunk.number]
            self.bytes -= chunk.size

    @property
    def next_chunk(self) -> int:
        """The number of the chunk to begin next."""
        return max(self.chunks, default=0) + 1

    @property
    def last_shard(self) -> int:
        """The highest shard that a chunk is of, at least 0."""
        return max((chunk.shard for chunk in self.chunks.values()), default=0)

    @property
    def posts(self) -> int:
        """How many posts are not in Kafka; one that is there in part counts if its beginning is not."""
        return sum(chunk.posts for chunk in self.chunks.values())

    @property
    def oldest(self) -> int | None:
        """When the oldest post was accepted, in milliseconds since 1970; ``None`` if there is none."""
        return min((chunk.accepted_at for chunk in self.chunks.values()), default=None)

    def notes(self) -> Sequence[Answered]:
        """Tell of each run that its posts were answered, up to the first that is not in Kafka as a whole.

        None was abandoned: whatever its sender was told, a post is in the journal as a whole or not at all.
        """
        through = {run.id: run.last_post for run in self._runs.values()}
        for chunk in self.chunks.values():
            through[chunk.run] = min(through[chunk.run], chunk.first_post - 1)
        return [
            {"instance": run.instance, "through": through[run.id], "abandoned": []}
            for run in self._runs.values()
            if through[run.id] > self._told.get(run.instance, 0)
        ]

    def told(self, note: Answered) -> list[int]:
        """Take it that a note has become durable.

        Returns:
            Former runs that can be forgotten, since everything of them is told.
        """
        self._told[note["instance"]] = note["through"]
        over = [
            run.id
            for run in self._runs.values()
            if run.instance == note["instance"] and run is not self._current and run.last_post == note["through"]
        ]
        for run in over:
            del self._runs[run], self._told[note["instance"]]
        return over
