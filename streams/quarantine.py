"""Dead letters of the worker's own making: what it could not read or work with, raw, and with its place in the log."""

from dataclasses import dataclass

import msgspec

from streams.books import balance
from streams.contracts.codec import Record
from streams.contracts.dead_letter import DeadLetter, Reason, split
from streams.contracts.sections import Inbox, Outbox
from streams.inbox import InboxRecord
from streams.outcome import Counts, Outcome, lines

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Where what is wrong with one inbox record goes."""

    record: InboxRecord

    version: str
    """This version of todoke."""

    def letter(self, raw: bytes, reason: Reason, detail: str, *, number: int = 0) -> bytes:
        """Write a dead letter, in as many lines as it takes.

        Args:
            raw: what is to be kept.
            reason: why.
            detail: a sentence for people.
            number: counts the dead letters of one inbox record. The worker names no receipt (what it cannot read may
                not tell one): its dead letters are told apart by topic, partition, offset, number and part.
        """
        return lines(
            [
                _encoder.encode(
                    DeadLetter(
                        receipt="",
                        number=number,
                        part=part,
                        parts=parts,
                        source="",
                        reason=reason.value,
                        detail=detail,
                        topic=self.record.topic,
                        partition=self.record.shard,
                        offset=self.record.offset,
                        version=self.version,
                        received_at=self.record.at,
                        raw_base64=base64,
                    )
                )
                for part, parts, base64 in split(raw)
            ]
        )

    def whole_record(self, reason: Reason, detail: str) -> Outcome:
        """Give up on a record that cannot even be taken apart."""
        return Outcome(
            sections={Outbox.DEAD_LETTERS: self.letter(self.record.value, reason, detail)},
            counts=Counts(dead_letters=1, diverted=1),
        )

    def all_events(self, chunk: Record, reason: Reason, detail: str) -> Outcome:
        """Give up on the events of a chunk; what else it says is told, and the books balance."""
        events = chunk.section(Inbox.EVENTS)
        shard, offset = self.record.shard, self.record.offset
        receipts = balance(chunk.section(Inbox.RECEIPTS), shard=shard, offset=offset, unique={}, duplicates={})
        return Outcome(
            sections={
                Outbox.RECEIPTS: _encoder.encode_lines(receipts),
                Outbox.DEAD_LETTERS: chunk.section(Inbox.DEAD_LETTERS) + self.letter(events, reason, detail),
                Outbox.ANSWERED: chunk.section(Inbox.ANSWERED),
            },
            counts=Counts(
                events=events.count(b"\n"),
                dead_letters=sum(receipt["dead_lettered"] for receipt in receipts),
                diverted=max(1, events.count(b"\n")),
            ),
        )
