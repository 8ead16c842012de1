"""Room on the disk, without which Kafka must not begin to read its logs.

After a kill Kafka makes the indexes of each log's last segment anew, through memory that is mapped to files with holes.
Where the disk has no block for a hole, Java gets a fault in the middle of that, and what Kafka makes of it can be
"found invalid offset during recovery": it deletes the segment, with records that were acknowledged. Where there is no
room for what it writes otherwise it fails as well, but deletes nothing.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from deploy.embedded.errors import DiskFullError

MIB = 1024 * 1024
NEEDED = 32 * MIB
"""Bytes that must be free: for the checkpoints and snapshots of all partitions, with plenty to spare."""

INDEX_BYTES = 512 * 1024
"""Bytes of one index of a segment that is written to. At an entry of 12 bytes for each 4096 of the log (Kafka's
``index.interval.bytes``), it is enough for 170 MiB."""


def require_room(folder: Path, topics: Path, needed: int = NEEDED) -> None:
    """Have a block of the disk behind every byte of the indexes that there are, and see that enough is left.

    Args:
        folder: of the broker.
        topics: in it, the folder of the logs; need not exist yet.
        needed: bytes that must be free after that.

    Raises:
        DiskFullError: there is too little room.
    """
    try:
        for index in _indexes(topics):
            with index.open("rb+") as file:
                if size := os.fstat(file.fileno()).st_size:
                    os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise DiskFullError("Kafka", folder, 0, needed) from error
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFullError("Kafka", folder, free, needed)


def _indexes(topics: Path) -> Iterator[Path]:
    for pattern in ("*/*.index", "*/*.timeindex"):
        yield from topics.glob(pattern)
