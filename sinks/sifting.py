"""What becomes of lines that cannot be published. Pure: values in, values out.

It is looked for only where publishing a block has failed, line by line: what can be published is, and every other line
becomes a dead letter.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from sinks.block import Block
from sinks.breaker import Limits, Tally
from sinks.publication import Publication
from streams.contracts.codec import Record
from streams.contracts.dead_letter import PART_LIMIT, Reason
from streams.contracts.sections import Outbox

logger = logging.getLogger(__name__)

UNPUBLISHABLE = (msgspec.MsgspecError, ValueError, LookupError, TypeError)
"""What publishing raises on a line that is not what it should be."""


@dataclass(frozen=True, slots=True)
class Channel:
    """How the lines of a section reach a topic."""

    topic: str
    section: str
    publications: Callable[[Record], Iterable[Publication]]


def sift(
    block: Block,
    channels: Sequence[Channel],
    tally: Tally,
    limits: Limits,
    *,
    put_aside: Callable[[], None],
    dead_letters: str,
    inbox: str,
    version: str,
) -> dict[str, list[Publication]]:
    """Tell what can be published of a block, by topic, the dead letters of what cannot included.

    Args:
        block: that cannot be published as it is.
        channels: of the topics.
        tally: is counted on.
        limits: on the lines that are put aside.
        put_aside: is called for each of them.
        dead_letters: the topic that they go to.
        inbox: the topic that they name as their origin.
        version: of todoke.

    Raises:
        BreakerError: too much cannot be published.
    """
    found: dict[str, list[Publication]] = {channel.topic: [] for channel in channels}
    aside: list[Publication] = []
    for channel in channels:
        for record in block.records:
            for number, line in enumerate(record.section(channel.section).splitlines(keepends=True)):
                try:
                    found[channel.topic] += channel.publications(Record(record.header, {channel.section: line}))
                    tally.took(channel.section == Outbox.EVENTS)  # every record has other lines, too
                except UNPUBLISHABLE as error:
                    what = f"a line for {channel.topic} that cannot be published: {error!r}"
                    tally.require(limits, partition=block.partition, what=what, setting="sink.topics")
                    tally.put_aside()
                    put_aside()
                    logger.error("Partition %d: to the dead letters goes %s", block.partition, what)  # noqa: TRY400 - it is handled
                    known = {
                        "reason": Reason.ROW_REFUSED.value,
                        "detail": what,
                        "source": "",
                        "receipt": "",
                        "number": number,
                        "version": version,
                        "topic": inbox,
                        "partition": block.partition,
                        "offset": record.header["stamp"],
                    }
                    aside += letters(line.rstrip(b"\n"), known)
    found[dead_letters] += aside
    return found


def letters(line: bytes, known: Mapping[str, object]) -> Iterable[Publication]:
    """Make the dead letters of a line, with what is known of it in the headers."""
    parts = max(1, -(-len(line) // PART_LIMIT))
    for part in range(parts):
        headers = {**known, "part": part, "parts": parts}
        raw = line[part * PART_LIMIT : (part + 1) * PART_LIMIT]
        yield None, raw, [(name, str(value).encode()) for name, value in headers.items()]
