import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from ingest.bodies import (
    MEMBERS,
    PARAMETERS,
    SMALL,
    OverLimitError,
    UnreadableError,
    decompress,
    find_key,
    read_form,
    read_json,
    read_multipart,
    without_key,
)

TEXT = "メール & = % + \r\n\n\r\n\r\n <a@b> \x00"
COMPRESSED = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("zstd", zstd.compress),
]


@pytest.mark.parametrize(("encoding", "compress"), COMPRESSED)
def test_decompresses_up_to_the_limit(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    raw = compress(b"abc")
    assert decompress(raw, encoding, 3) == b"abc"
    with pytest.raises(OverLimitError):
        decompress(raw, encoding, 2)


@pytest.mark.parametrize(("encoding", "compress"), COMPRESSED)
def test_joins_members(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    assert decompress(compress(b"abc") + compress(b"def"), encoding, 6) == b"abcdef"


def test_bounds_the_number_of_members() -> None:
    with pytest.raises(UnreadableError, match="more than"):
        decompress(gzip.compress(b"") * (MEMBERS + 1), "gzip", 100)


def test_takes_bare_deflate_streams() -> None:
    assert decompress(zlib.compress(b"abc", wbits=-15), "deflate", 3) == b"abc"


@pytest.mark.parametrize(("encoding", "compress"), COMPRESSED)
def test_refuses_what_was_cut_short_or_is_something_else(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(UnreadableError):
        decompress(compress(b"abc" * 100)[:-3], encoding, 1000)
    with pytest.raises(UnreadableError):
        decompress(b"\x00 is something else", encoding, 1000)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a":"\\u0000"}', {"a": "\x00"}),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        (b'{"a":"cut \\ud83d","b":"\\ud83d\\ude00"}', {"a": "cut �", "b": "😀"}),
        (b"[12345678901234567890123, 1.5]", [12345678901234567890123.0, 1.5]),
    ],
)
def test_reads_json(raw: bytes, value: object) -> None:
    assert read_json(raw) == value


@pytest.mark.parametrize(
    "raw", [b"{", b"", b"NaN", b'["\xff"]', b"[" * 100_000, b"[" * 5000 + b"]" * 5000, b"[1e999]", b"\xff\xfe{"]
)
def test_refuses_what_is_no_json(raw: bytes) -> None:
    with pytest.raises(UnreadableError, match="not JSON"):
        read_json(raw)


@given(st.dictionaries(st.text(), st.text()))
def test_reads_any_form(parameters: dict[str, str]) -> None:
    encodable = {name: value for name, value in parameters.items() if _is_encodable(name + value)}
    expected = {name: value.encode() for name, value in encodable.items()} or {"": b""}
    assert read_form(urlencode(encodable).encode()) == expected


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def test_refuses_a_form_that_is_not_utf_8() -> None:
    with pytest.raises(UnreadableError, match="UTF-8"):
        read_form(b"%ff=1")


def test_reads_multipart() -> None:
    raw = (
        b'--b\r\nContent-Disposition: form-data; name="event_type"\r\n\r\nbounces\r\n'
        b'--b\r\nContent-Disposition: form-data; name="event"\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n'
        + TEXT.encode()
        + b"\r\n--b--\r\n"
    )
    assert read_multipart(raw, "multipart/form-data; boundary=b") == {"event_type": b"bounces", "event": TEXT.encode()}


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=other"])
def test_refuses_multipart_without_its_boundary(content_type: str) -> None:
    with pytest.raises(UnreadableError, match="boundary"):
        read_multipart(b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--', content_type)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"api_key":"s3cret","a":',
        b'{"api_key" : "s3cret\\"s3cret", broken',
        b'{"api_key":"s3cret',
        b'{"api_key":s3cret}',
        b"api_key=s3cret&event=%7B",
        b"event=%7B&api_key=s3cret",
        b"event=1&api%5Fkey=s3cret&b=2",
        b"event=1&api%5fkey=s3cret",
        b'--b\r\nContent-Disposition: form-data; name="api_key"\r\n\r\ns3cret\r\n--b--',
        b'--b\r\nContent-Disposition: form-data; name="api_key"\r\nContent-Type: text/plain\r\n\r\ns3cret\r\n--b--',
        b"--b\nContent-Disposition: form-data; name=api_key\n\ns3cret\n--b--",
    ],
)
def test_blanks_keys_out_of_whatever_is_kept(raw: bytes) -> None:
    assert b"s3cret" not in without_key(raw)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b'{"api_key":"s3\\u0063ret","a":', "s3cret"),
        (b'{"api_key":"s3cret', None),
        (b'{"api_key":17,', None),
        (b"event=%7B&api%5Fkey=s3%63ret&a=1", "s3cret"),
        (b'--b\r\nContent-Disposition: form-data; name="api_key"\r\n\r\ns3cret\r\n--b', "s3cret"),
        (b'{"a":', None),
        (b"", None),
    ],
)
def test_finds_keys_in_what_cannot_be_read(raw: bytes, key: str | None) -> None:
    assert find_key(raw) == key


def test_leaves_everything_else_as_it_is() -> None:
    raw = b'{"event":"api_key","other_api_key":"1"} a=1&my_api_key=2'
    assert without_key(raw) == raw


def test_bounds_what_many_parameters_cost() -> None:
    assert len(read_form(b"&".join(b"%d=" % number for number in range(PARAMETERS)))) == PARAMETERS
    with pytest.raises(UnreadableError, match="parameters"):
        read_form(b"&" * PARAMETERS)
    part = b'--b\r\nContent-Disposition: form-data; name="%d"\r\n\r\n1\r\n'
    parts = b"".join(part % number for number in range(PARAMETERS + 1))
    with pytest.raises(UnreadableError, match="parts"):
        read_multipart(parts + b"--b--", "multipart/form-data; boundary=b")
    assert len(read_multipart(parts.replace(part % 0, b"") + b"--b--", "multipart/form-data; boundary=b")) == PARAMETERS


def test_multipart_with_bare_line_feeds() -> None:
    raw = b"--b\nContent-Type: text/plain\nContent-Disposition: form-data; name=a\n\n1\n\n2\n--b--\n"
    assert read_multipart(raw, 'multipart/form-data; boundary="b"') == {"a": b"1\n\n2"}


@pytest.mark.parametrize(
    "value",
    [
        b"1.5",
        b"9999",
        b"null",
        b'{"status":"queued","to":"a@x"}',
        b'{"created":"2023-01-25 14:03:06","status":"queued","messageId":"<1@x>","to":"a@x","subject":"","reason":""}',
    ],
    ids=lambda value: value.decode()[:30],
)
def test_what_is_parsed_takes_a_bounded_multiple_of_its_bytes(value: bytes) -> None:
    raw = b"[" + b",".join([value] * (SMALL // len(value) + 1)) + b"]"
    assert _parsed_size(raw) < 12 * len(raw)


@pytest.mark.parametrize("value", [b"{}", b"[]", b'{"a":1}', b'{"a":{}}', b'[{"a":"b"}]', b'"ab"', b'{"reason":""}'])
def test_hardly_anything_but_structure_is_refused(value: bytes) -> None:
    raw = b"[" + b",".join([value] * (SMALL // len(value) + 1)) + b"]"
    with pytest.raises(UnreadableError, match="more values"):
        read_json(raw)


def test_names_that_are_all_different_are_bounded_too() -> None:
    raw = b"{" + b",".join(b'"%06x":1' % number for number in range(SMALL // 8)) + b"}"
    assert _parsed_size(raw) < 16 * len(raw)


def _parsed_size(raw: bytes) -> int:
    tracemalloc.start()
    tree = read_json(raw)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tree
    return size
