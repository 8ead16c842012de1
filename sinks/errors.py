"""What can go wrong in a sink."""

from streams.contracts.errors import TodokeError


class HandedOverError(TodokeError):
    """Partitions are no longer this sink's, or may not be.

    What was begun there is abandoned, and the next owner, which may be this sink again, repeats it.
    """

    retriable = True


class UnreachableError(TodokeError):
    """The destination does not answer or is not able to take anything now: the same again, later."""

    retriable = True


class RefusedError(TodokeError):
    """The destination refuses what it is given, and would again. Nothing is skipped: somebody has to look.

    Attributes:
        said: what the destination says of it, one line.
    """

    def __init__(self, message: str, *, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class TooLargeError(RefusedError):
    """The destination would take less at a time."""


class PoisonError(RefusedError):
    """Something in what was given cannot be read or kept, whatever else is given with it."""


class BreakerError(TodokeError):
    """So much is refused that the fault is not with the rows: nothing more is put aside until somebody has looked."""


class SchemaError(TodokeError):
    """The tables in ClickHouse are not those of this version."""
