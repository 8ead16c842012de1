"""The attribute ``S`` of a file: each write to it is on the disk before it returns (``man ioctl_iflags``)."""

import fcntl
import os
import shutil
import struct
from pathlib import Path

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # of 64-bit Linux
_SYNCHRONOUS = 0x8


def can_write_through(folder: Path) -> bool:
    """Tell whether single files can be written through on the file system of a folder, new ones by their folder.

    ext4 and XFS can.
    """
    probe = folder / "tokens.probe"
    file = probe / "file"
    try:
        probe.mkdir(exist_ok=True)
        set_synchronous(str(probe))
        file.touch()
        return _is_synchronous(str(file))
    except OSError:
        return False
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def _is_synchronous(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return bool(_flags(descriptor) & _SYNCHRONOUS)
    finally:
        os.close(descriptor)


def set_synchronous(path: str) -> None:
    """Give a file or a folder the attribute; what is made in the folder from then on takes it over.

    Raises:
        OSError: the file system does not have it, or the path is not there.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not (flags := _flags(descriptor)) & _SYNCHRONOUS:
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", flags | _SYNCHRONOUS))
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flags(descriptor: int) -> int:
    (flags,) = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("i", 0)))
    return int(flags)
