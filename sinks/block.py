"""A block: consecutive records of one partition that are delivered together."""

from dataclasses import dataclass

from sinks.position import Bounds, Position
from streams.contracts.codec import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Consecutive records of one outbox partition, and the positions on both sides.

    Two blocks with the same partition, bounds and epoch hold the same records.
    """

    partition: int
    bounds: Bounds
    """The offsets of the outbox, those of records that do not count included."""

    epoch: str
    """Of every record in it."""

    records: tuple[Record, ...]
    """Those that count."""

    before: Position
    after: Position
    events: int
    size: int
    """Bytes of the records, unpacked."""

    @property
    def name(self) -> str:
        """The same for the same content, and for nothing else."""
        return f"{self.partition}:{self.bounds.first}-{self.bounds.last}:{self.epoch}"

    def section(self, name: str) -> bytes:
        """Give the lines of one section of all records."""
        return b"".join(lines for record in self.records if (lines := record.section(name)))
