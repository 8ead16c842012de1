"""Which event is which: providers send no event id, so the event's own words make one."""

import hashlib
from collections.abc import Sequence

SEPARATOR = "\x1f"
"""US (U+001F) between the parts of a key or an identity. What makes a key must not contain it; a reason may."""

_HASH = hashlib.blake2b(digest_size=16)
_HASH_WITH_LENGTHS = hashlib.blake2b(digest_size=16, person=b"lengths")


def message_id(raw: str) -> str:
    """Strip white space and the angle brackets of RFC 5322, section 3.6.4, which providers may or may not send."""
    text = raw.strip()
    if text and text[0] == "<" and text[-1] == ">":
        return text[1:-1].strip()
    return text


def recipient(raw: str) -> str:
    """Put the domain of an address in lower case and leave the local part as mailed (RFC 5321, section 2.4)."""
    text = raw.strip()
    local, at, domain = text.rpartition("@")
    return local + at + domain.lower()


def event_id(parts: Sequence[str], multiplicity: int = 0) -> str:
    """Make an event's identity of the words that tell it from others: 32 hexadecimal digits.

    Args:
        parts: source, composition, kind, message id, recipient, provider's status, provider's time, reason, source ip
            and sender ip, in this order; or source, ``"id"``, the given id, message id, recipient and type where the
            sender names its events itself: it may number those of each mail from 1.
        multiplicity: how many events with equal parts stand before this one in the same post: a resend of the post
            maps to the same ids, while two real events that look alike both survive.

    A cryptographic hash, since who can choose a colliding event could make another one vanish as its duplicate.
    """
    if multiplicity:
        parts = (*parts, str(multiplicity))
    words, begun = SEPARATOR.join(parts), _HASH
    if words.count(SEPARATOR) >= len(parts):  # stands inside of a part, which could so pass for several
        words, begun = "".join([f"{len(part)}:{part}" for part in parts]), _HASH_WITH_LENGTHS
    hash_ = begun.copy()  # costs half of making one
    hash_.update(words.encode("utf-8", "surrogatepass"))
    return hash_.hexdigest()
