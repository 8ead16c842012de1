"""ClickHouse's own block framing, which HTTP clients ask for by ``compress=1`` and announce by ``decompress=1``.

A block is a CityHash128 (16 bytes, of CityHash 1.0.2) of what follows it: the method (1 byte), the size of the block
without the hash and the size of its content (4 bytes each, little endian), then the compressed content
(https://clickhouse.com/docs/native-protocol/compression).
"""

import struct
from collections.abc import Iterator

import lz4.block
from clickhouse_cityhash.cityhash import CityHash128

from deploy.embedded.clickhouse.errors import ClickHouseError
from streams.contracts.zstd import zstd

NONE, LZ4, ZSTD = 0x02, 0x82, 0x90

CONTENT_LIMIT = 2**20
"""Bytes of content in a block that is written here, as ClickHouse does it."""

READ_LIMIT = 2**30
"""Bytes of content in a block that is still read, ClickHouse's own limit (DBMS_MAX_COMPRESSED_SIZE)."""

_HASH = 16
_HEAD = struct.Struct("<BII")


def frame(content: bytes | memoryview) -> bytes:
    """Write content as blocks of LZ4."""
    view = memoryview(content)
    return b"".join(_block(view[at : at + CONTENT_LIMIT]) for at in range(0, len(view), CONTENT_LIMIT))


def _block(content: memoryview) -> bytes:
    packed: bytes = lz4.block.compress(content, store_size=False)
    body = _HEAD.pack(LZ4, _HEAD.size + len(packed), len(content)) + packed
    return _hash(body) + body


def _hash(body: bytes) -> bytes:
    number: int = CityHash128(body)
    # ClickHouse writes the two halves in this order, each little endian.
    return (number >> 64).to_bytes(8, "little") + (number & (2**64 - 1)).to_bytes(8, "little")


class FrameReader:
    """Takes blocks in pieces of any size, gives their content."""

    def __init__(self, *, check: bool = True) -> None:
        """Begin a stream of blocks.

        Args:
            check: compare the hashes (``http_native_compression_disable_checksumming_on_decompress`` turns it off).
        """
        self._pending = bytearray()
        self._check = check

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Give the content of every block that is complete with this piece.

        Raises:
            ClickHouseError: this is not ClickHouse's framing, or it is damaged.
        """
        self._pending += piece
        at = 0
        while len(self._pending) - at >= _HASH + _HEAD.size:
            method, packed_size, size = _HEAD.unpack_from(self._pending, at + _HASH)
            if packed_size < _HEAD.size or max(packed_size, size) > READ_LIMIT:
                raise ClickHouseError(271, "CANNOT_DECOMPRESS", "Cannot decompress: a block's header is not valid")
            end = at + _HASH + packed_size
            if len(self._pending) < end:
                break
            yield self._content(method, bytes(self._pending[at:end]), size)
            at = end
        del self._pending[:at]

    def finish(self) -> None:
        """Take note that nothing follows.

        Raises:
            ClickHouseError: the last block is not complete.
        """
        if self._pending:
            raise ClickHouseError(32, "ATTEMPT_TO_READ_AFTER_EOF", "Cannot decompress: the last block is cut short")

    def _content(self, method: int, block: bytes, size: int) -> bytes:
        body = block[_HASH:]
        if self._check and _hash(body) != block[:_HASH]:
            raise ClickHouseError(
                40, "CHECKSUM_DOESNT_MATCH", "Checksum of a compressed block doesn't match: the data is damaged"
            )
        packed = memoryview(body)[_HEAD.size :]
        try:
            if method == LZ4:
                content: bytes = lz4.block.decompress(packed, uncompressed_size=size)
            elif method == ZSTD:
                content = zstd.decompress(packed)
            elif method == NONE:
                content = bytes(packed)
            else:
                raise ClickHouseError(89, "UNKNOWN_COMPRESSION_METHOD", f"Unknown compression method: 0x{method:02x}")
        except (lz4.block.LZ4BlockError, zstd.ZstdError) as error:
            raise ClickHouseError(271, "CANNOT_DECOMPRESS", f"Cannot decompress: {error}") from error
        if len(content) != size:
            raise ClickHouseError(271, "CANNOT_DECOMPRESS", "Cannot decompress: a block's size is not what it says")
        return content
