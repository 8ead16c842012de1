"""A lock on a data folder that is freed by the end of whoever holds it, however that comes."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Self


class FolderLock:
    """A lock of the kernel (flock(2)) on an open file: whoever inherits the file shares it, the last to go frees it.

    So handed on to a child it lasts exactly as long as the child does, however that ends, and whether or not the
    process that started it still lives.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        """The open file; pass it to the child that is to hold the lock."""

    @classmethod
    def take(cls, path: Path) -> Self:
        """Take it.

        Raises:
            BlockingIOError: it is taken.
            OSError: the file cannot be opened.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in {errno.EAGAIN, errno.EACCES}:
                raise BlockingIOError from None
            raise
        lock = cls(descriptor)
        lock.show(os.getpid())
        return lock

    @staticmethod
    def holder(path: Path) -> int | None:
        """Tell which process said that it holds the lock."""
        try:
            return int(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def show(self, pid: int) -> None:
        """Say which process holds the lock; for people, the lock itself needs it not."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, b"%d\n" % pid, 0)

    def release(self) -> None:
        """Let go of one's own share. May be called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
