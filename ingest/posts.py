"""One accepted post on its way into Kafka."""

import asyncio
from collections.abc import Callable

from streams.contracts.errors import TodokeError


class Post:
    """Waits for all its pieces; answered by one future, however many events it holds.

    It is *settled* once every piece was acknowledged or given up, which may be long after it was answered: what it
    holds of the memory set aside is given back only then.
    """

    __slots__ = ("_on_settled", "_pending", "abandoned", "accepted", "durable", "receipt", "received_at", "source")

    def __init__(self, *, receipt: str, source: str, received_at: str, on_settled: Callable[[], None]) -> None:
        self.receipt = receipt
        self.source = source
        self.received_at = received_at
        self.accepted = 0
        self.abandoned = False
        """Answered with an error already: what was not sent yet need not be."""
        self.durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending = 0
        self._on_settled = on_settled

    def expect(self, pieces: int) -> None:
        """Wait for this many pieces; with none there is nothing to wait for."""
        self._pending = pieces
        if not pieces:
            self._settle()

    def acknowledge(self) -> None:
        """Take it that one piece is durable."""
        self._pending -= 1
        if not self._pending:
            self._settle()

    def give_up(self, error: TodokeError) -> None:
        """Take it that one piece may have been lost."""
        if not self.durable.done():
            self.durable.set_exception(error)
        self._pending -= 1
        if not self._pending:
            self._settle()

    def abandon(self) -> None:
        """Stop waiting: the sender was told to try again."""
        self.abandoned = True
        if self.durable.done() and not self.durable.cancelled():
            self.durable.exception()  # seen; else asyncio would complain about it
        self.durable.cancel()

    def _settle(self) -> None:
        if not self.durable.done():
            self.durable.set_result(None)
        self._on_settled()
