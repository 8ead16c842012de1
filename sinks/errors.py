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
    """The destination refuses what it is given, and would again. Nothing is skipped: somebody has to look."""


class SchemaError(TodokeError):
    """The tables in ClickHouse are not those of this version."""
