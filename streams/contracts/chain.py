"""Which outbox records count: the chain of stamps.

One inbox record makes one outbox record, which carries its *stamp* (the inbox offset that it answers), the *previous*
stamp that its writer knew, and the *epoch* of the log. Records that no honest, single history would hold are thereby
recognised by everybody who reads the log, in the same way, without asking anyone:

- a record written twice, by a retried send or by a worker that lost its partition without noticing, has a ``previous``
  that is no longer the last one;
- a record that was written behind one that got lost has a ``previous`` that never came.

A record that answers nothing may repeat the last stamp (``previous`` is the stamp itself). So the writer keeps a log
alive in which nothing happens, since retention would take the record that everybody continues from; so it restores
what a lost log had said, before it answers anything; and so it tells what of an answer is too long for one record
ahead of that answer, see `streams.ahead`.

The writer reads its own log by the same rule when it starts and continues from where the readers are.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

RESTORING = "restoring"
"""Key of an outbox record's header, true in every record of a log that its writer is still filling with what a lost one
had said. Such records tell nothing that was not told before."""

BEFORE_FIRST = -1
"""The stamp of a log in which nothing has been answered yet."""


def draw_epoch() -> str:
    """Draw the name of a new log: 16 hexadecimal digits nobody else draws."""
    return secrets.token_hex(8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """The part of an outbox record's header that places it in the chain."""

    epoch: str
    """Drawn by the founding record of the log."""

    stamp: int
    """The inbox offset that this record answers."""

    previous: int | None
    """The stamp of the record before; ``None`` where the writer found an empty log."""

    founding: bool = False
    """Opens an epoch, and carries nothing else but what was lost with an inbox that is no more."""

    def header(self) -> dict[str, Any]:
        """Give the link as keys for the header of `streams.contracts.codec.encode`."""
        link: dict[str, Any] = {"epoch": self.epoch, "stamp": self.stamp, "previous": self.previous}
        return {**link, "founding": True} if self.founding else link

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Self:
        """Read the link from a record's header."""
        return cls(
            epoch=header["epoch"],
            stamp=header["stamp"],
            previous=header["previous"],
            founding=header.get("founding", False),
        )


@dataclass(slots=True)
class Chain:
    """What a reader of one outbox partition remembers: the last link that counted."""

    epoch: str | None = None
    stamp: int | None = None
    linked: bool = False
    """A second record has confirmed the first one that was seen; until then it may have been a stray."""

    def follow(self, link: Link) -> bool:
        """Take the next record of the log; tell whether it counts, and remember it if so."""
        counts = self._continues(link)
        if counts:
            self.linked = link.founding or (self.stamp is not None and link.previous == self.stamp)
            self.epoch, self.stamp = link.epoch, link.stamp
        return counts

    def _continues(self, link: Link) -> bool:
        if self.stamp is None:
            return True
        if link.previous == self.stamp and (link.founding or link.epoch == self.epoch):
            return True
        # A reader that began in the middle may have begun with a stray record; the true chain then runs past it.
        return not self.linked and link.previous is not None and link.stamp > self.stamp

    def next_offset(self) -> int:
        """Tell the inbox offset that the next record of the chain will answer."""
        return 0 if self.stamp is None else self.stamp + 1
