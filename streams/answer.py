"""The answer: the one outbox record that an inbox record makes, whatever is in it, and what goes ahead of it."""

import contextlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec

from streams.ahead import AHEAD, TooLongError, name_of, pieces
from streams.contracts.chain import RESTORING, Link, draw_epoch
from streams.contracts.codec import SPREAD_FORM, Record, encode
from streams.contracts.dead_letter import Reason
from streams.contracts.errors import FormError
from streams.contracts.sections import Loss, Outbox
from streams.contracts.topics import OUTBOX_LIMIT
from streams.correlation import correlate
from streams.inbox import InboxRecord
from streams.outcome import Counts, Outcome
from streams.quarantine import Quarantine
from streams.state import TIME, PartitionState

logger = logging.getLogger(__name__)

VALUE_LIMIT = OUTBOX_LIMIT - 64 * 1024
"""Bytes of a record's value: Kafka's limit counts its own framing too."""

PIECE_LIMIT = VALUE_LIMIT - 4096
"""Bytes of a section that has a record to itself: the header comes on top."""

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An outbox record, written but not yet in the log."""

    stamp: int
    record: Record
    """What readers will find, put together, for the state."""

    value: bytes
    ahead: Sequence[bytes]
    """Values of the records that are to be written before it: see `streams.ahead`."""
    counts: Counts

    keys: Collection[str]
    """Of the record's lifecycles."""


def answer(inbox: InboxRecord, state: PartitionState, losses: Sequence[Loss], version: str) -> Answer:
    """Answer an inbox record, by what is known after all the ones before it. The state is not changed.

    Whatever the record holds, there is an answer: what cannot be worked with goes to the dead letters, since a record
    without an answer would stop its shard for good. Nothing but the arguments decides what is in it: two workers that
    answer the same record from the same state write the same bytes.
    """
    quarantine = Quarantine(inbox, version)
    outcome = _work_off(inbox, state, quarantine)
    sealed = _seal(outcome, inbox, state, losses)
    if len(sealed.value) > VALUE_LIMIT:
        size = len(sealed.value)
        with contextlib.suppress(TooLongError):
            sealed = _spread(sealed, state)
        if len(sealed.value) <= VALUE_LIMIT:
            return sealed
        detail = f"the answer has {size} bytes, Kafka takes {VALUE_LIMIT} in a record and there is no place to cut it"
        outcome = quarantine.all_events(inbox.chunk(), Reason.CHUNK_POISON, detail)
        # What is too large is no sign of a wrong worker: it must not stop everybody's mail, see `streams.diversions`.
        outcome = replace(outcome, counts=replace(outcome.counts, diverted=0))
        sealed = _seal(outcome, inbox, state, losses)
    return sealed


def _work_off(inbox: InboxRecord, state: PartitionState, quarantine: Quarantine) -> Outcome:
    try:
        chunk = inbox.chunk()
    except FormError as error:
        logger.exception("Inbox shard %d offset %d cannot be read: to the dead letters", inbox.shard, inbox.offset)
        return quarantine.whole_record(Reason.CHUNK_UNREADABLE, str(error))
    try:
        return correlate(chunk, state, quarantine)
    except Exception as error:
        logger.exception("Inbox shard %d offset %d: the correlation failed", inbox.shard, inbox.offset)
        detail = f"{type(error).__name__}: {error}"
    try:
        return quarantine.all_events(chunk, Reason.CHUNK_POISON, detail)
    except (msgspec.DecodeError, KeyError, TypeError, RecursionError):
        # Not even its receipts can be read: nothing is left but to keep it as it is.
        return quarantine.whole_record(Reason.CHUNK_POISON, detail)


def _seal(outcome: Outcome, inbox: InboxRecord, state: PartitionState, losses: Sequence[Loss]) -> Answer:
    chain = state.chain
    if chain.epoch is None:
        raise ValueError("the log must be founded before anything is answered")
    link = Link(epoch=chain.epoch, stamp=inbox.offset, previous=chain.stamp)
    header = {**link.header(), TIME: inbox.at, "counts": asdict(outcome.counts)}
    sections = {**outcome.sections, Outbox.LOSSES.value: _loss_lines(losses)}
    return Answer(
        stamp=inbox.offset,
        record=Record(header, sections),
        value=encode(header, sections),
        ahead=(),
        counts=outcome.counts,
        keys=outcome.keys,
    )


def _spread(whole: Answer, state: PartitionState) -> Answer:
    """Have the lifecycles of an answer go ahead of it.

    Raises:
        TooLongError: one of them does not fit into a record.
    """
    sections = dict(whole.record.sections)
    lifecycles = sections.pop(Outbox.LIFECYCLES, b"")
    name, cut = name_of(lifecycles), list(pieces(lifecycles, PIECE_LIMIT))
    before = _repetition(state)
    return replace(
        whole,
        value=encode({**whole.record.header, AHEAD: {"name": name, "records": len(cut)}}, sections, SPREAD_FORM),
        ahead=[
            encode({**before, AHEAD: {"name": name, "number": number}}, {Outbox.LIFECYCLES.value: piece}, SPREAD_FORM)
            for number, piece in enumerate(cut)
        ],
    )


def found(stamp: int, previous: int | None, at: str, losses: Sequence[Loss], *, restoring: bool = False) -> bytes:
    """Write the record that founds a log: a new epoch, in which the inbox offset behind ``stamp`` is answered next.

    One that is ``restoring`` is filled from the archive before that, see `streams.restoration`.
    """
    link = Link(epoch=draw_epoch(), stamp=stamp, previous=previous, founding=True)
    header = {**link.header(), TIME: at, "counts": asdict(Counts())}
    if restoring:
        header[RESTORING] = True
    return encode(header, {Outbox.LOSSES.value: _loss_lines(losses)})


def repeat(state: PartitionState) -> bytes:
    """Write a record that says nothing new: it answers again what was answered last.

    The chain hangs on its last record. Where nothing happens for longer than the outbox is kept, that one would be
    deleted, and nobody could continue what the readers remember.
    """
    return encode(_repetition(state), {})


def _repetition(state: PartitionState) -> dict[str, Any]:
    """Write the header of a record that answers nothing."""
    chain = state.chain
    if chain.epoch is None or chain.stamp is None:
        raise ValueError("an empty log has nothing to be repeated")
    link = Link(epoch=chain.epoch, stamp=chain.stamp, previous=chain.stamp)
    return {**link.header(), TIME: state.time, "counts": asdict(Counts())}


def _loss_lines(losses: Sequence[Loss]) -> bytes:
    return _encoder.encode_lines(losses)
