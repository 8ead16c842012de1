"""One accepted post on its way into Kafka."""

import asyncio
from collections.abc import Callable

from streams.contracts.errors import TodokeError


class Post:
    """Waits for all its pieces; answered by one future, however many events it holds.

    It is *settled* once every piece was acknowledged or given up, which may be long after it was answered: what it
    holds of the memory set aside is given back only then.
    """

    __slots__ = (
        "_durable",
        "_on_settled",
        "_pending",
        "abandoned",
        "accepted",
        "is_sent",
        "receipt",
        "received_at",
        "source",
        "unreadable",
    )

    def __init__(self, *, receipt: str, source: str, received_at: str, on_settled: Callable[[], None]) -> None:
        self.receipt = receipt
        self.source = source
        self.received_at = received_at
        self.accepted = 0
        self.unreadable = 0
        """How many of these are dead letters."""
        self.abandoned = False
        """Answered with an error already: what was not sent yet need not be."""
        self.is_sent = False
        """A part of it was handed over to be stored, so that it may be in the log whatever is answered."""
        self._durable: asyncio.Future[None] | None = None
        self._pending = 0
        self._on_settled = on_settled

    def expect(self, pieces: int) -> asyncio.Future[None]:
        """Begin to wait for this many pieces.

        Returns:
            Done when every piece is durable; fails as soon as one was given up.
        """
        self._durable = durable = asyncio.get_running_loop().create_future()
        self._pending = pieces
        if not pieces:
            self._settle()
        return durable

    def acknowledge(self) -> None:
        """Take it that one piece is durable."""
        self._pending -= 1
        if not self._pending:
            self._settle()

    def give_up(self, error: TodokeError) -> None:
        """Take it that one piece may have been lost."""
        if self._durable is not None and not self._durable.done():
            self._durable.set_exception(error)
        self._pending -= 1
        if not self._pending:
            self._settle()

    def abandon(self) -> None:
        """Stop waiting: the sender was told to try again."""
        self.abandoned = True
        if self._durable is not None and not self._durable.cancel() and not self._durable.cancelled():
            self._durable.exception()  # looked at, so that asyncio does not complain that nobody did

    def _settle(self) -> None:
        if self._durable is not None and not self._durable.done():
            self._durable.set_result(None)
        self._on_settled()
