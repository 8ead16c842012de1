"""The books of receipts: accepted = unique + duplicate + dead-lettered, for every accepted post."""

from collections.abc import Mapping

import msgspec

from streams.contracts.sections import ReceiptCount, ReceiptPart

_parts = msgspec.json.Decoder(ReceiptPart)


def balance(section: bytes, unique: Mapping[str, int], duplicates: Mapping[str, int]) -> list[ReceiptCount]:
    """Tell what became of each receipt's events in a chunk.

    What the chunk should hold by its own word, and is neither unique nor duplicate, went to the dead letters.

    Args:
        section: `ReceiptPart` lines.
        unique: by receipt, the events that were new.
        duplicates: by receipt, the events that were known.
    """
    return [
        ReceiptCount(
            receipt=(name := part["receipt"]),
            source=part["source"],
            received_at=part["received_at"],
            accepted=part["accepted"],
            unique=unique.get(name, 0),
            duplicate=duplicates.get(name, 0),
            dead_lettered=part["dead_letters"] + max(0, part["events"] - unique.get(name, 0) - duplicates.get(name, 0)),
        )
        for part in _parts.decode_lines(section)
    ]
