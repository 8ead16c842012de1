"""The books of receipts: accepted = unique + duplicate + dead-lettered, for every accepted post."""

from collections.abc import Mapping

import msgspec

from streams.contracts.sections import ReceiptCount, ReceiptPart

_parts = msgspec.json.Decoder(ReceiptPart)


def balance(
    section: bytes, *, shard: int, offset: int, unique: Mapping[str, int], duplicates: Mapping[str, int]
) -> list[ReceiptCount]:
    """Tell what became of each receipt's events in a chunk, once for each receipt however many parts of it there are.

    What the chunk should hold by its own word, and is neither unique nor duplicate, went to the dead letters.

    Args:
        section: `ReceiptPart` lines.
        shard: of the chunk.
        offset: of the chunk, in the inbox.
        unique: by receipt, the events that were new.
        duplicates: by receipt, the events that were known.
    """
    counts: dict[str, ReceiptCount] = {}
    events: dict[str, int] = {}
    for part in _parts.decode_lines(section):
        name = part["receipt"]
        if name not in counts:
            counts[name] = ReceiptCount(
                receipt=name,
                source=part["source"],
                received_at=part["received_at"],
                accepted=part["accepted"],
                unique=unique.get(name, 0),
                duplicate=duplicates.get(name, 0),
                dead_lettered=0,
                places=[],
            )
        count = counts[name]
        count["dead_lettered"] += part["dead_letters"]
        events[name] = events.get(name, 0) + part["events"]
        if "part" in part:
            held = part["events"] + part["dead_letters"]
            count["places"].append((part["part"], shard, offset, held, part["dead_letters"]))
    for name, count in counts.items():
        count["dead_lettered"] += max(0, events[name] - count["unique"] - count["duplicate"])
    return list(counts.values())
