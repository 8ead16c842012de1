"""ClickHouse's block framing: read as ClickHouse writes it, written so that it can be read."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.framing import CONTENT_LIMIT, FrameReader, frame

CONTENT = b"delivered" * 12

# Column files that ClickHouse 26.9 wrote for twelve rows 'delivered', with the codecs LZ4, ZSTD(1) and NONE.
WRITTEN_BY_CLICKHOUSE = {
    "lz4": "a1oHoZUHk+9881ZHRDE6M4IcAAAAbAAAAJ9kZWxpdmVyZWQJAEtQdmVyZWQ=",
    "zstd": "GaaObg8Nvq0k1wkfi2835pAiAAAAbAAAACi1L/0gbIUAAEhkZWxpdmVyZWQBAIBpOQI=",
    "none": "UBXv7Ia+QnzTG+RNocDQ3wJ1AAAAbAAAAGRlbGl2ZXJlZGRlbGl2ZXJlZGRlbGl2ZXJlZGRlbGl2ZXJlZGRlbGl2ZXJlZGRlbGl2"
    "ZXJlZGRlbGl2ZXJlZGRlbGl2ZXJlZGRlbGl2ZXJlZGRlbGl2ZXJlZGRlbGl2ZXJlZGRlbGl2ZXJlZA==",
}


def read(framed: bytes, *, at_a_time: int = 2**30, check: bool = True) -> bytes:
    reader = FrameReader(check=check)
    pieces = [framed[at : at + at_a_time] for at in range(0, len(framed), at_a_time)]
    content = b"".join(content for piece in pieces for content in reader.feed(piece))
    reader.finish()
    return content


@pytest.mark.parametrize("method", WRITTEN_BY_CLICKHOUSE)
def test_reads_what_clickhouse_writes(method: str) -> None:
    assert read(base64.b64decode(WRITTEN_BY_CLICKHOUSE[method])) == CONTENT


def test_writes_what_clickhouse_writes() -> None:
    assert frame(CONTENT) == base64.b64decode(WRITTEN_BY_CLICKHOUSE["lz4"])


@given(st.binary(max_size=5000), st.integers(min_value=1, max_value=700))
def test_what_was_written_is_read_in_any_pieces(content: bytes, at_a_time: int) -> None:
    assert read(frame(content), at_a_time=at_a_time) == content


def test_large_content_becomes_several_blocks() -> None:
    content = bytes(range(256)) * (CONTENT_LIMIT // 256 * 2) + b"end"
    framed = frame(content)
    assert [len(each) for each in FrameReader().feed(framed)] == [CONTENT_LIMIT, CONTENT_LIMIT, 3]
    assert read(framed) == content


def test_nothing_is_no_block() -> None:
    assert frame(b"") == b""
    assert read(b"") == b""


@given(st.integers(min_value=0, max_value=len(base64.b64decode(WRITTEN_BY_CLICKHOUSE["lz4"])) - 1))
def test_any_damage_is_seen(position: int) -> None:
    damaged = bytearray(frame(CONTENT))
    damaged[position] ^= 0x10
    with pytest.raises(ClickHouseError) as refused:
        read(bytes(damaged))
    assert refused.value.code in {32, 40, 271}


def test_hashes_need_not_be_checked() -> None:
    damaged = b"\0" * 16 + frame(CONTENT)[16:]
    assert read(damaged, check=False) == CONTENT


def test_a_cut_block_is_seen() -> None:
    with pytest.raises(ClickHouseError) as refused:
        read(frame(CONTENT)[:-1])
    assert refused.value.code == 32


def test_an_unknown_method_is_named() -> None:
    framed = bytearray(frame(CONTENT))
    framed[16] = 0x42
    with pytest.raises(ClickHouseError, match="0x42") as refused:
        read(bytes(framed), check=False)
    assert refused.value.code == 89
