"""Who must not be mailed: for each address the latest that the provider's own block list was heard to say."""

import msgspec

from streams.contracts.events import EventType
from streams.contracts.identity import SEPARATOR
from streams.lifecycle import Event

UNEXPLAINED = "blocked by the provider"


class Suppression(msgspec.Struct, gc=False):
    """The latest of one source and recipient; `streams.contracts.sections.Suppression` as the worker holds it."""

    source: str
    recipient: str
    blocked: bool
    reason: str
    since: str
    until: str | None
    event: str

    def precedes(self, other: "Suppression") -> bool:
        """Tell whether the other one counts: it is later, or as late and says blocked, which is the safe side."""
        return (self.since, self.blocked, self.event) < (other.since, other.blocked, other.event)


def told_by(event: Event) -> Suppression:
    """Read what a blocked or unblocked event says."""
    blocked = event.type == EventType.BLOCKED
    return Suppression(
        source=event.source,
        recipient=event.recipient,
        blocked=blocked,
        reason=event.reason or (UNEXPLAINED if blocked else ""),
        since=event.occurred_at,
        until=None if blocked else event.occurred_at,
        event=event.id,
    )


def key(suppression: Suppression) -> str:
    """Name an address of a source, as the key of the public topic does."""
    return f"{suppression.source}{SEPARATOR}{suppression.recipient}"


_suppressions = msgspec.json.Decoder(Suppression)
_encoder = msgspec.json.Encoder()


def parse(line: bytes) -> Suppression:
    """Read a line that `render` wrote."""
    return _suppressions.decode(line)


def render(suppression: Suppression) -> bytes:
    """Write a line, without a newline."""
    return _encoder.encode(suppression)
