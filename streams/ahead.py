"""What of an answer does not fit into its record goes ahead of it.

An answer tells the whole lifecycle of every mail that its chunk touches. Where that is more than Kafka takes in one
record, the lifecycles are written before it, in records that answer nothing: they repeat the last stamp (see
`streams.contracts.chain`). The answer names them, and they are known from the moment at which it stands in the log and
not before. So it is all or nothing as ever: of a worker that died in between, nothing is known but what was known
before, and the next one answers the chunk from there, with the same bytes. All these records have a form of their own:
a version that does not put them together must not read them (`streams.contracts.codec.SPREAD_FORM`).

Only the worker's memory depends on this rule. The tables are made of the events, and the topic of lifecycles gets each
under its key as it comes, the same again after such a death.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

from streams.contracts.codec import lines_of

AHEAD = "ahead"
"""Key of an outbox record's header: in one that goes ahead the name of what it is a part of and its number from 0, in
the answer the name and how many there are."""


class TooLongError(Exception):
    """A single line is larger than a record may be."""


def name_of(section: bytes) -> str:
    """Name what goes ahead of an answer: the same for the same lifecycles, and for nothing else."""
    return blake2b(section, digest_size=8).hexdigest()


def pieces(section: bytes, limit: int) -> Iterator[bytes]:
    """Cut a section between lines, into pieces of at most so many bytes.

    Raises:
        TooLongError: there is a line that is longer.
    """
    begin = end = 0
    for line in lines_of(section):
        size = len(line) + 1
        if size > limit:
            raise TooLongError
        if end + size - begin > limit:
            yield section[begin:end]
            begin = end
        end += size
    yield section[begin:end]


class Ahead:
    """What went ahead of an answer that has not come yet."""

    def __init__(self) -> None:
        self._pieces: dict[tuple[str, int], bytes] = {}

    def keep(self, told: Mapping[str, Any], section: bytes) -> None:
        """Keep what goes ahead. The same again changes nothing: somebody else may be writing the same answer."""
        self._pieces[told["name"], told["number"]] = section

    def of(self, told: Mapping[str, Any], *, may_begin_later: bool) -> bytes | None:
        """Give what went ahead of an answer; ``None`` where something of it is missing.

        Args:
            told: what the answer says of it.
            may_begin_later: what comes first may be missing: it stood before the place at which reading began. What
                comes behind that may not.
        """
        found = [self._pieces.get((told["name"], number)) for number in range(told["records"])]
        there = found[found.count(None) if may_begin_later else 0 :]
        pieces = [piece for piece in there if piece is not None]
        return b"".join(pieces) if len(pieces) == len(there) else None

    def clear(self) -> None:
        """Forget everything, since an answer has come."""
        self._pieces.clear()
