"""The content encodings of HTTP, piece by piece in both directions."""

import zlib
from collections.abc import Callable
from typing import Any, Protocol

import cramjam
import lz4.frame

from deploy.embedded.clickhouse.errors import ClickHouseError
from streams.contracts.zstd import zstd


class Encoder(Protocol):
    """Compresses one answer."""

    def compress(self, piece: bytes, /) -> bytes:
        """Take a piece of content; give what is ready."""
        ...

    def sync(self) -> bytes:
        """Give all that was taken and is not given yet; more may follow."""
        ...

    def finish(self) -> bytes:
        """Give the rest and the end's mark."""
        ...


class Decoder(Protocol):
    """Decompresses one body."""

    def decompress(self, piece: bytes, /) -> bytes:
        """Take a piece of the body; give its content."""
        ...

    @property
    def eof(self) -> bool:
        """The end of the compressed content has been seen."""
        ...


class _Zlib:
    """Writes gzip or deflate (which is zlib's form)."""

    def __init__(self, wbits: int, level: int) -> None:
        self._stream = zlib.compressobj(level, wbits=wbits)

    def compress(self, piece: bytes, /) -> bytes:
        return self._stream.compress(piece)

    def sync(self) -> bytes:
        return self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Zstd:
    """Writes zstd; level 1 is as fast as the network and still better than gzip."""

    def __init__(self) -> None:
        self._stream = zstd.ZstdCompressor(level=1)

    def compress(self, piece: bytes, /) -> bytes:
        return self._stream.compress(piece)

    def sync(self) -> bytes:
        return self._stream.flush(zstd.ZstdCompressor.FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Lz4:
    """Writes the frame format of LZ4."""

    def __init__(self) -> None:
        self._stream = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        self._head = self._stream.begin()

    def compress(self, piece: bytes, /) -> bytes:
        head, self._head = self._head, b""
        return bytes(head + self._stream.compress(piece))

    def sync(self) -> bytes:
        return b""

    def finish(self) -> bytes:
        return bytes(self._head + self._stream.flush())


class _Brotli:
    """Writes brotli; level 4 compresses as well as gzip at a fraction of what the highest takes."""

    def __init__(self) -> None:
        self._stream: Any = cramjam.brotli.Compressor(4)

    def compress(self, piece: bytes, /) -> bytes:
        self._stream.compress(piece)
        return bytes(self._stream.flush())

    def sync(self) -> bytes:
        return b""

    def finish(self) -> bytes:
        return bytes(self._stream.finish())


class _Members:
    """Reads a stream of several members one after the other, as gzip, zstd and LZ4 files may be."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._member: Any = None

    def decompress(self, piece: bytes, /) -> bytes:
        content = []
        while piece:
            if self._member is None or self._member.eof:
                self._member = self._make()
            content.append(self._member.decompress(piece))
            piece = self._member.unused_data or b""
        return content[0] if len(content) == 1 else b"".join(content)

    @property
    def eof(self) -> bool:
        return self._member is None or bool(self._member.eof)


ENCODINGS = ("zstd", "br", "lz4", "gzip", "deflate")
"""What can be asked for, the best first."""

_GZIP, _ZLIB, _EITHER = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, 32 + zlib.MAX_WBITS

_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": lambda: _Members(lambda: zlib.decompressobj(_EITHER)),
    "x-gzip": lambda: _Members(lambda: zlib.decompressobj(_EITHER)),
    "deflate": lambda: _Members(lambda: zlib.decompressobj(_ZLIB)),
    "zstd": lambda: _Members(zstd.ZstdDecompressor),
    "lz4": lambda: _Members(lz4.frame.LZ4FrameDecompressor),
}


def choose(accepted: str) -> str | None:
    """Choose from an Accept-Encoding (RFC 9110, 12.5.3) the one that is best for both; None leaves content as it is."""
    names = {}
    for each in accepted.lower().split(","):
        name, _, weight = each.partition(";")
        names[name.strip()] = weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return next((name for name in ENCODINGS if names.get(name)), None)


def encoder(name: str, *, zlib_level: int) -> Encoder:
    """Make an encoder.

    Args:
        name: one of ``ENCODINGS``.
        zlib_level: 1 to 9, for gzip and deflate.
    """
    match name:
        case "zstd":
            return _Zstd()
        case "br":
            return _Brotli()
        case "lz4":
            return _Lz4()
        case "gzip":
            return _Zlib(_GZIP, zlib_level)
        case _:
            return _Zlib(_ZLIB, zlib_level)


def decoder(name: str) -> Decoder | None:
    """Make a decoder for a Content-Encoding; None for content that is as it is.

    Raises:
        ClickHouseError: the encoding is not known.
    """
    name = name.strip().lower()
    if name in {"", "identity"}:
        return None
    if name not in _DECODERS:
        raise ClickHouseError(
            48, "NOT_IMPLEMENTED", f"Unknown compression method {name}. Use one of: {', '.join(sorted(_DECODERS))}"
        )
    return _DECODERS[name]()


def decoded(stream: Decoder, piece: bytes) -> bytes:
    """Decode a piece.

    Raises:
        ClickHouseError: it is not what its encoding says.
    """
    try:
        return stream.decompress(piece)
    except (zlib.error, zstd.ZstdError, RuntimeError) as error:  # LZ4 raises RuntimeError
        raise ClickHouseError(354, "ZLIB_INFLATE_FAILED", f"Cannot decompress the request's body: {error}") from error
