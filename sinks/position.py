"""Where a sink is in a partition of the outbox, and how it is written down with a committed offset."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from streams.contracts.chain import Chain

FORM = 1
"""Version of the metadata; a position of another version counts as one that nobody remembers the chain of."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first and the last of some consecutive offsets."""

    first: int
    last: int

    def __contains__(self, offset: int) -> bool:
        return self.first <= offset <= self.last

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """What a reader must know to go on: the next offset, and the chain as it is before it."""

    offset: int
    """The first record that is not delivered for certain."""

    epoch: str | None = None
    stamp: int | None = None
    linked: bool = False
    """`streams.contracts.chain.Chain` before that record."""

    intent: Bounds | None = None
    """The block that was begun there: it may be delivered, in whole or in part, and is to be repeated exactly."""

    generation: int = 0
    """Of the tables that have what lies before: tables that were made anew have nothing of it."""

    reached: tuple[str, int] | None = None
    """Epoch and stamp of a block that the tables are known to have: what they have may come further, never less far."""

    known: Mapping[str, int] = field(default_factory=dict, hash=False)
    """The last stamp of each epoch that the destination says to have; it is asked for them, so none is written down."""

    refusals: tuple[int, int, int] = (0, 0, 0)
    """How much was refused of late, where that is remembered with the position: a `sinks.breaker.Tally`."""

    @classmethod
    def at(cls, offset: int, chain: Chain, intent: Bounds | None = None) -> Self:
        """Make the position before an offset."""
        return cls(offset=offset, epoch=chain.epoch, stamp=chain.stamp, linked=chain.linked, intent=intent)

    def chain(self) -> Chain:
        """Give the chain to follow from here."""
        return Chain(epoch=self.epoch, stamp=self.stamp, linked=self.linked)

    def metadata(self) -> str:
        """Write all but the offset as the metadata of an offset commit (Kafka takes 4096 bytes by default)."""
        intent = None if self.intent is None else [self.intent.first, self.intent.last]
        known = {
            "form": FORM,
            "epoch": self.epoch,
            "stamp": self.stamp,
            "linked": self.linked,
            "intent": intent,
            "generation": self.generation,
            "reached": self.reached,
            "refusals": self.refusals,
        }
        return json.dumps(known, separators=(",", ":"))

    @classmethod
    def of(cls, offset: int, metadata: str) -> Self:
        """Read a position back.

        An offset whose metadata is not ours was set by hand, with Kafka's own tools: reading starts there as it would
        at the beginning of a log.
        """
        try:
            known = json.loads(metadata)
            if known["form"] != FORM:
                return cls(offset=offset)
            intent = None if known["intent"] is None else Bounds(*known["intent"])
            return cls(
                offset=offset,
                epoch=known["epoch"],
                stamp=known["stamp"],
                linked=known["linked"],
                intent=intent,
                generation=known.get("generation", 0),
                reached=None if known.get("reached") is None else tuple(known["reached"]),
                refusals=tuple(known.get("refusals", (0, 0, 0))),
            )
        except (ValueError, KeyError, TypeError):
            return cls(offset=offset)
