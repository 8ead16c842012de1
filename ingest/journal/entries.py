"""What the journal holds: entries, which make chunks, of posts that runs of ingest accepted."""

from dataclasses import dataclass
from typing import Self

ENTRY_OVERHEAD = 128
"""Bytes that an entry counts beyond its content."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What one commit adds to one chunk."""

    chunk: int
    """Its number: counts all chunks, in the order in which they were begun."""
    shard: int
    run: int
    """The run of ingest that accepted the posts; see `Store.begin_run`."""
    first_post: int
    last_post: int
    """The lowest and the highest number of a post that has something in it."""
    posts: int
    """Posts that begin in it."""
    accepted_at: int
    """Milliseconds since 1970."""
    content: bytes
    """A record for the inbox."""

    @property
    def size(self) -> int:
        """Bytes that it counts."""
        return len(self.content) + ENTRY_OVERHEAD


@dataclass(kw_only=True, slots=True)
class Chunk:
    """All entries of one chunk together: what will be one record of the inbox."""

    number: int
    shard: int
    run: int
    first_post: int
    last_post: int
    posts: int = 0
    accepted_at: int
    """Of the oldest entry, in milliseconds since 1970."""
    size: int = 0
    """Bytes that it counts."""

    @classmethod
    def begun_by(cls, entry: Entry) -> Self:
        """Begin with the first entry, which is still to be added."""
        return cls(
            number=entry.chunk,
            shard=entry.shard,
            run=entry.run,
            first_post=entry.first_post,
            last_post=entry.last_post,
            accepted_at=entry.accepted_at,
        )

    def add(self, entry: Entry) -> None:
        """Take one more entry into account."""
        self.first_post = min(self.first_post, entry.first_post)
        self.last_post = max(self.last_post, entry.last_post)
        self.posts += entry.posts
        self.size += entry.size


@dataclass(kw_only=True, slots=True)
class Run:
    """One run of ingest, as far as its posts are still of interest."""

    id: int
    instance: str
    """The first part of its receipts, see `streams.contracts.receipts`."""
    last_post: int
    """The highest number of a post that was accepted, as far as is known."""
