"""Restoring a log that was lost, from the archive: the last resort.

Where the outbox of a shard is empty, nothing is known, so every resend would count as new. If Kafka lost its topics,
the archive (ClickHouse) still has the unique events, and what a worker knows is a fold over them:

1. *Found* the log. The founding record says ``restoring``.
2. *Fold* the history, block by block, in the way that inbox records are answered, and write what comes of it: the
   lifecycles, the events that were seen, the suppressions. These records say ``restoring``, too.
3. *Finish* with a record that does not say so.

A crash leaves nothing half-known, since a log whose last record says ``restoring`` is not worked with: its worker does
step 2 again. It then folds into what was written already, which can do no harm, because lifecycles are a lattice: what
is known is not written again, and what is missing is added.

No reader counts anything twice. The records of step 2 repeat the stamp of the founding (see
`streams.contracts.chain`), so they answer no inbox record; they have no events, receipts or dead letters, so nothing of
them goes into ClickHouse. The lifecycles and suppressions in them are published, which fills the compacted topics that
were lost with the outbox. A second worker that restores the same log meanwhile finds the first one's records at the
offsets of its own, as always; and what it has under way says nothing but the same, or comes behind the first answer and
does not continue the chain.
"""

import logging
from collections.abc import Iterator
from dataclasses import asdict

from streams.contracts.chain import RESTORING, Chain, Link
from streams.contracts.codec import Record, encode
from streams.contracts.sections import Inbox, Outbox
from streams.contracts.topics import OUTBOX_LIMIT
from streams.correlation import correlate
from streams.inbox import InboxRecord
from streams.outcome import Counts
from streams.quarantine import Quarantine
from streams.state import TIME, PartitionState

logger = logging.getLogger(__name__)

KEPT = (Outbox.LIFECYCLES, Outbox.SEEN, Outbox.SUPPRESSIONS)
"""What is restored; events and books are where they were."""

VALUE_LIMIT = OUTBOX_LIMIT // 2
"""Bytes of a record, far enough from Kafka's limit."""


def is_restoring(record: Record) -> bool:
    """Tell whether a log that ends with this record is not complete."""
    return bool(record.header.get(RESTORING, False))


def restored(events: bytes, state: PartitionState, at: str, version: str) -> Iterator[tuple[Record, bytes]]:
    """Fold a block of history into what is known; give the records to be written, the state is to apply each at once.

    Args:
        events: lines of `streams.contracts.events.Event`.
        state: of a log that was founded.
        at: the time that the worker lives by, from which on what is restored is remembered for the horizon.
        version: of todoke.
    """
    place = InboxRecord(topic="", shard=-1, offset=-1, at=at, value=b"")
    outcome = correlate(Record({}, {Inbox.EVENTS.value: events}), state, Quarantine(place, version))
    unreadable = outcome.counts.events - outcome.counts.unique - outcome.counts.duplicates
    if unreadable:
        logger.error("%d events of the archive cannot be read; a resend of one would count again", unreadable)
    sections = {name.value: lines for name in KEPT if (lines := outcome.sections[name])}
    if not sections:
        return
    header = _header(state.chain, at)
    value = encode({**header, RESTORING: True}, sections)
    if len(value) <= VALUE_LIMIT or events.count(b"\n") == 1:
        yield Record({**header, RESTORING: True}, sections), value
        return
    for half in _halves(events):
        yield from restored(half, state, at, version)


def finished(chain: Chain, at: str) -> bytes:
    """Write the record that says that everything is restored."""
    return encode(_header(chain, at), {})


def _header(chain: Chain, at: str) -> dict[str, object]:
    if chain.epoch is None or chain.stamp is None:
        raise ValueError("the log must be founded before anything is restored")
    link = Link(epoch=chain.epoch, stamp=chain.stamp, previous=chain.stamp)
    return {**link.header(), TIME: at, "counts": asdict(Counts())}


def _halves(events: bytes) -> tuple[bytes, bytes]:
    lines = events.splitlines(keepends=True)
    half = len(lines) // 2
    return b"".join(lines[:half]), b"".join(lines[half:])
