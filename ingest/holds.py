"""How much memory posts may take together: what is under way is counted, and beyond a limit nothing is begun."""

import asyncio
from types import TracebackType
from typing import Self

from ingest.problems import OverloadedError

POST_OVERHEAD = 4096
"""Bytes that a post counts from before its body is read, so that a flood of tiny posts has a limit, too."""


class Allowance:
    """The memory set aside for posts that are not durable yet."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self.posts = 0
        """Posts that are being handled."""
        self.quiet = asyncio.Event()
        """Set while no post is being handled."""
        self.quiet.set()

    @property
    def is_nearly_spent(self) -> bool:
        """Tell whether nine tenths are taken, when other processes should get the posts."""
        return self.taken * 10 >= self.limit * 9

    def enter(self) -> "Hold":
        """Begin to handle a post: to be used as a context manager."""
        return Hold(self)


class Hold:
    """The share that one post has of the allowance."""

    __slots__ = ("_allowance", "_is_handed_over", "_size")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._size = 0
        self._is_handed_over = False

    def __enter__(self) -> Self:
        self.grow(POST_OVERHEAD)
        self._allowance.posts += 1
        self._allowance.quiet.clear()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._allowance.posts -= 1
        if not self._allowance.posts:
            self._allowance.quiet.set()
        if not self._is_handed_over:
            self.release()

    def grow(self, size: int) -> None:
        """Take this many bytes more.

        Raises:
            OverloadedError: they are not to be had now.
        """
        self.foresee(size)
        self._allowance.taken += size
        self._size += size

    def foresee(self, size: int) -> None:
        """Check that this many bytes more are to be had now, without taking them.

        Raises:
            OverloadedError: they are not.
        """
        if self._allowance.taken + size > self._allowance.limit:
            raise OverloadedError(
                "posts that are not durable yet take all the memory set aside for them: try again later"
            )

    def exchange(self, size: int) -> None:
        """Hold this many bytes instead of those so far: a body was read, and is no longer needed.

        A post that has everything to itself may take more than there is, or it could never be taken.

        Raises:
            OverloadedError: they are not to be had now.
        """
        allowance = self._allowance
        if size > self._size and allowance.taken > self._size:
            self.foresee(size - self._size)
        allowance.taken += size - self._size
        self._size = size

    def hand_over(self) -> None:
        """Leave it to somebody else to release the hold, later than the context's end."""
        self._is_handed_over = True

    def release(self) -> None:
        """Give everything back. May be called twice."""
        self._allowance.taken -= self._size
        self._size = 0
