"""A disk whose power can be lost: a filesystem in a file, whose bytes are what was really written.

The kernel keeps what a process wrote in memory, and writes it to the disk later, or when it is told to by fsync. A kill
takes nothing of that, a loss of power does. Here the disk is a file that is mounted as a loop device: its bytes, copied
while the filesystem is still mounted, are what a machine would find that comes up again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from streams.contracts.clock import Deadline, SystemClock

SIZE = "4G"
"""Of the filesystem; the file has holes where nothing was written."""
OPTIONS = "loop,noatime,commit=300,noauto_da_alloc"
"""Nothing is written through by itself for as long as can be had: what is old is, after half a minute."""

UNMOUNT_WITHIN = 10.0
"""Seconds until nobody may have anything open on the disk any more."""


class Disk:
    """A folder on a disk of its own."""

    def __init__(self, folder: Path, image: Path) -> None:
        """Describe it.

        Args:
            folder: where it is mounted.
            image: the file that is the disk.
        """
        self.folder = folder
        self._image = image

    async def lose_power(self) -> None:
        """Forget what was not written through. Nothing may run in the folder any more."""
        found = self._image.with_suffix(".found")
        await _run("cp", "--sparse=always", "--reflink=never", str(self._image), str(found))
        await self._unmount()
        found.replace(self._image)
        await _run("mount", "-o", OPTIONS, str(self._image), str(self.folder))

    async def _unmount(self) -> None:
        """Unmount it as soon as the kernel has closed the files of those that were killed."""
        deadline = Deadline(UNMOUNT_WITHIN, SystemClock())
        while True:
            try:
                await _run("umount", str(self.folder))
            except OSError:
                if not deadline.remaining():
                    raise
                await asyncio.sleep(0.2)
            else:
                return


@contextlib.asynccontextmanager
async def disk_of_its_own(folder: Path, *, keep: Callable[[], object]) -> AsyncIterator[Disk]:
    """Put a folder on a disk of its own for the length of the block. In the end it is kept if that is wanted.

    Raises:
        OSError: this system, or this user, has no loop devices: it takes root, mkfs.ext4 and Linux.
    """
    image = folder.with_suffix(".disk")
    await _run("mkdir", "-p", str(folder))
    await _run("truncate", "--size", SIZE, str(image))
    await _run("mkfs.ext4", "-q", "-F", str(image))
    await _run("mount", "-o", OPTIONS, str(image), str(folder))
    try:
        await _run("touch", str(folder / "lock"))  # which tells `todoke up` that the folder is its own
        yield Disk(folder, image)
    finally:
        if keep():
            await _run("cp", "-a", str(folder), f"{folder}-kept")
        await _run("umount", "-l", str(folder))
        image.unlink()


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise OSError(
            f"{' '.join(command)}: {said.decode().strip()}. The loss of power is tried on a loop device, which takes "
            "root, mkfs.ext4 and a kernel that has them"
        )
