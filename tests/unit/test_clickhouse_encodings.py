"""HTTP's content encodings as the embedded ClickHouse reads and writes them."""

import gzip
import sys
import zlib

import cramjam
import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.embedded.clickhouse.encodings import ENCODINGS, choose, decoded, decoder, encoder
from deploy.embedded.clickhouse.errors import ClickHouseError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT = b'{"type":"delivered"}\n' * 5000


def decompress(encoding: str, packed: bytes) -> bytes:
    """Read with a library of its own, in one go."""
    match encoding:
        case "gzip":
            return gzip.decompress(packed)
        case "deflate":
            return zlib.decompress(packed)
        case "zstd":
            return bytes(zstd.decompress(packed))
        case "lz4":
            return bytes(lz4.frame.decompress(packed))
        case _:
            return bytes(cramjam.brotli.decompress(packed))


def compress(encoding: str, content: bytes) -> bytes:
    match encoding:
        case "gzip":
            return gzip.compress(content)
        case "deflate":
            return zlib.compress(content)
        case "zstd":
            return bytes(zstd.compress(content))
        case _:
            return bytes(lz4.frame.compress(content))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_others_read_what_is_written_in_pieces(encoding: str) -> None:
    stream = encoder(encoding, zlib_level=3)
    packed = b"".join(stream.compress(CONTENT[at : at + 777]) for at in range(0, len(CONTENT), 777)) + stream.finish()
    assert decompress(encoding, packed) == CONTENT
    assert len(packed) < len(CONTENT) / 4


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_can_be_written(encoding: str) -> None:
    assert decompress(encoding, encoder(encoding, zlib_level=3).finish()) == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
@given(content=st.binary(max_size=3000), at_a_time=st.integers(min_value=1, max_value=400))
def test_what_others_write_is_read_in_any_pieces(encoding: str, content: bytes, at_a_time: int) -> None:
    packed = compress(encoding, content)
    stream = decoder(encoding)
    assert stream is not None
    pieces = [decoded(stream, packed[at : at + at_a_time]) for at in range(0, len(packed), at_a_time)]
    assert b"".join(pieces) == content
    assert stream.eof


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
def test_several_members_are_one_content(encoding: str) -> None:
    stream = decoder(encoding)
    assert stream is not None
    assert decoded(stream, compress(encoding, b"one ") + compress(encoding, b"two")) == b"one two"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
def test_a_missing_end_is_seen(encoding: str) -> None:
    stream = decoder(encoding)
    assert stream is not None
    decoded(stream, compress(encoding, CONTENT)[:-3])
    assert not stream.eof


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
def test_what_is_not_encoded_is_refused(encoding: str) -> None:
    stream = decoder(encoding)
    assert stream is not None
    with pytest.raises(ClickHouseError) as refused:
        decoded(stream, b"INSERT INTO t FORMAT TSV\n" * 10)
    assert refused.value.code == 354


def test_no_encoding_needs_no_decoder() -> None:
    assert decoder("") is None
    assert decoder(" Identity ") is None


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(ClickHouseError, match="snappy") as refused:
        decoder("snappy")
    assert refused.value.code == 48


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", None),
        ("identity", None),
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("LZ4", "lz4"),
        ("zstd;q=0, gzip;q=0.5", "gzip"),
        ("snappy", None),
    ],
)
def test_the_best_encoding_is_chosen(accepted: str, chosen: str | None) -> None:
    assert choose(accepted) == chosen
