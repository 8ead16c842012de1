"""The ways on which posts become durable: straight into Kafka, or into the local journal."""

from collections.abc import Sequence
from typing import Protocol

from ingest.answered import Ledger
from ingest.lanes import Lane
from ingest.packing import Piece
from streams.contracts.receipts import draw_instance
from streams.contracts.sections import Answered


class Way(Protocol):
    """Numbers posts, makes their pieces durable, and knows which posts the log may be told about as answered."""

    @property
    def instance(self) -> str:
        """The first part of the receipts of its posts, see `streams.contracts.receipts`."""
        ...

    def check_room(self) -> None:
        """Check before a post is read that it could be taken; costs nothing.

        Raises:
            RefusedError: it could not.
        """
        ...

    def draw(self) -> int:
        """Draw the number of the next post, which is decided some time."""
        ...

    def put(self, pieces: Sequence[Piece]) -> None:
        """Take all pieces of a post, in the order of the posts' numbers; the post is told what becomes of each.

        Raises:
            RefusedError: there is no room for them now; none was taken.
        """
        ...

    def decide(self, sequence: int, *, abandoned: bool) -> None:
        """Note how a post was answered, see `ingest.answered.Ledger.decide`."""
        ...

    def notes(self) -> Sequence[Answered]:
        """Write down what the log can be told now about answered posts and was not told yet."""
        ...

    def told(self, note: Answered) -> None:
        """Take it that a note has become durable."""
        ...


class DirectWay:
    """Straight into Kafka."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        """Begin.

        Args:
            lanes: one for each shard.
        """
        self._lanes = lanes
        self._ledger = Ledger(draw_instance())

    @property
    def instance(self) -> str:
        """As drawn for this process."""
        return self._ledger.instance

    def check_room(self) -> None:
        """Do nothing: whoever waits for Kafka waits in the memory set aside for posts, which has a limit of its own."""

    def draw(self) -> int:
        """Draw a number."""
        return self._ledger.open()

    def put(self, pieces: Sequence[Piece]) -> None:
        """Put each piece into the lane of its shard."""
        for piece in pieces:
            self._lanes[piece.shard].put(piece)

    def decide(self, sequence: int, *, abandoned: bool) -> None:
        """Note it in the ledger."""
        self._ledger.decide(sequence, abandoned=abandoned)

    def notes(self) -> Sequence[Answered]:
        """Give the ledger's note."""
        note = self._ledger.note()
        return () if note is None else (note,)

    def told(self, note: Answered) -> None:
        """Note it in the ledger."""
        self._ledger.told(note)
