"""How the sections of a record become short on an internal topic: by whoever writes it, not by Kafka.

What Kafka compresses is a batch: the broker unpacks every one to look at what is inside, and the clients copy all of
it several times. A record of ours is as long as a batch. Compressed before Kafka gets it, it is short for everybody but
its two ends; `tests.benchmarks.kafka_cpu` measures both ways.
"""

from collections.abc import Mapping
from enum import StrEnum

from streams.contracts.zstd import zstd

LEVEL = 1
"""Of Zstandard. Higher ones take half as long again, and chunks of mail events do not get shorter by it."""

LARGEST_WINDOW: Mapping[int, int] = {zstd.DecompressionParameter.window_log_max: 24}
"""How much memory a frame may ask for, as a power of two: `streams.contracts.topics.OUTBOX_LIMIT`."""


class Compression(StrEnum):
    """How records of an internal topic are written. Every reader reads both."""

    NONE = "none"
    ZSTD = "zstd"


class UnpackingError(ValueError):
    """This is not, from its beginning to its end, a frame of Zstandard of that content."""


def pack(content: bytes) -> bytes:
    """Compress sections to one frame of Zstandard (RFC 8878)."""
    return zstd.compress(content, LEVEL)


def unpack(frame: bytes, size: int) -> bytes:
    """Give the content of a frame.

    Args:
        frame: that `pack` made.
        size: bytes of its content; no more than that are unpacked.

    Raises:
        UnpackingError: it is cut short, damaged or of another size.
        MemoryError: there is not enough; the frame may be good.
    """
    unpacker = zstd.ZstdDecompressor(options=LARGEST_WINDOW)
    try:
        content = unpacker.decompress(frame, size + 1)
    except zstd.ZstdError as error:
        if "not enough memory" in str(error):  # not: "Frame requires too much memory", which the frame decides
            raise MemoryError from error
        raise UnpackingError("it is damaged") from error
    if not unpacker.eof or unpacker.unused_data or len(content) != size:
        raise UnpackingError("it is of another size")
    return content
