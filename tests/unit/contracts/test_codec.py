"""The form of internal records: what was written is read, and nothing else is."""

import contextlib
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contracts.codec import (
    COMPRESSED_FORM,
    FORM,
    SPREAD_FORM,
    Record,
    compressed,
    decode,
    encode,
    form_header,
    lines_of,
)
from streams.contracts.compression import Compression
from streams.contracts.errors import FormError, LaterFormError
from streams.contracts.topics import OUTBOX_LIMIT
from streams.contracts.zstd import zstd

NAMES = st.text(min_size=1, max_size=8)
LINES = st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"") + b"\n"), max_size=5).map(b"".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.dictionaries(st.text(max_size=8).filter(lambda key: key not in {"form", "sections"}), JSON, max_size=4)


@given(st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")), max_size=5))
def test_a_section_is_its_lines(lines: list[bytes]) -> None:
    assert lines_of(b"".join(line + b"\n" for line in lines)) == lines


def test_a_last_line_that_is_not_ended_is_whole() -> None:
    assert lines_of(b'{"a":1}\n{"b":2}') == [b'{"a":1}', b'{"b":2}']


@given(HEADERS, st.dictionaries(NAMES, LINES, max_size=4))
def test_what_was_written_is_read(header: dict[str, object], sections: dict[str, bytes]) -> None:
    record = decode(encode(header, sections))

    assert {key: record.header[key] for key in header} == header
    assert record.header["form"] == FORM
    for name, lines in sections.items():
        assert record.section(name) == lines


def test_a_record_is_a_header_line_and_its_sections_one_behind_the_other() -> None:
    value = encode({"stamp": 7}, {"events": b'{"a":1}\n', "receipts": b"", "answered": b"[]\n"})

    head, _, body = value.partition(b"\n")
    assert json.loads(head) == {"form": 1, "stamp": 7, "sections": {"events": 8, "answered": 3}}
    assert body == b'{"a":1}\n[]\n'


def test_a_section_that_is_not_there_is_empty() -> None:
    assert Record({}, {}).section("events") == b""


@given(st.dictionaries(NAMES, LINES, min_size=1, max_size=3), st.data())
def test_a_record_that_was_cut_short_is_refused(sections: dict[str, bytes], data: st.DataObject) -> None:
    value = encode({}, sections)
    length = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(FormError):
        decode(value[:length])


@given(st.binary(max_size=200))
def test_nothing_but_a_record_is_taken_for_one(value: bytes) -> None:
    """Whatever stands in the log, there is a record or this one error."""
    with contextlib.suppress(FormError):
        decode(value)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b"1\n",
        b'{"form":1}\n',
        b'{"form":1,"sections":[]}\n',
        b'{"form":1,"sections":{"events":"3"}}\nabc',
        b'{"form":1,"sections":{"events":-1}}\n',
        b'{"form":1,"sections":{"events":true}}\na',
        b'{"form":1,"sections":{"events":2.0}}\nab',
        b'{"form":1,"sections":{}}\nmore',
        b"[" * 100_000 + b"\n",
    ],
)
def test_what_only_looks_like_a_record_is_refused(value: bytes) -> None:
    with pytest.raises(FormError):
        decode(value)


def test_a_form_of_the_future_says_that_an_upgrade_is_due() -> None:
    with pytest.raises(LaterFormError, match="form 4, this version of todoke reads forms up to 3: upgrade"):
        decode(b'{"form":4,"sections":{}}\n')


@pytest.mark.parametrize("form", [b"0", b"-1", b"1.5", b'"1"', b"null", b"[1]", b"{}"])
def test_a_form_that_nobody_wrote_is_not_a_later_one(form: bytes) -> None:
    with pytest.raises(FormError, match="which no version of todoke has written") as raised:
        decode(b'{"form":%s,"sections":{}}\n' % form)
    assert type(raised.value) is FormError
    assert "upgrade" not in str(raised.value)


@pytest.mark.parametrize("form", [FORM, SPREAD_FORM])
def test_both_forms_are_read_and_told_to_other_tools(form: int) -> None:
    value = encode({"stamp": 7}, {"events": b"{}\n"}, form)

    assert decode(value).header["form"] == form
    assert form_header(value) == ("form", f"record/{form}".encode())


LONG = encode({"stamp": 7}, {"events": b'{"type":"delivered"}\n' * 1000, "receipts": b"{}\n"})
NOISE = encode({}, {"events": os.urandom(50_000)})


def short_form(value: bytes) -> bytes:
    return compressed(value, Compression.ZSTD, OUTBOX_LIMIT)


@given(
    header=HEADERS, sections=st.dictionaries(NAMES, LINES, max_size=4), times=st.integers(min_value=1, max_value=200)
)
def test_a_compressed_record_is_read_as_the_plain_one(
    header: dict[str, Any], sections: dict[str, bytes], times: int
) -> None:
    value = encode(header, {name: lines * times for name, lines in sections.items()})

    assert replace_form(decode(short_form(value))) == decode(value)


def test_a_record_that_was_read_is_written_as_it_was() -> None:
    record = decode(short_form(LONG))

    assert encode(record.header, record.sections) == LONG


def replace_form(record: Record) -> Record:
    return Record({**record.header, "form": FORM}, record.sections)


@pytest.mark.parametrize("form", [FORM, SPREAD_FORM])
def test_a_long_record_gets_short_and_keeps_its_header_readable(form: int) -> None:
    value = encode({"stamp": 7}, decode(LONG).sections, form)
    short = short_form(value)

    assert len(short) < len(value) / 10
    assert form_header(short) == ("form", b"record/3")
    head = json.loads(short.partition(b"\n")[0])
    assert head == json.loads(value.partition(b"\n")[0]) | {"form": COMPRESSED_FORM}


@pytest.mark.parametrize(
    ("value", "compression", "limit"),
    [
        (LONG, Compression.NONE, OUTBOX_LIMIT),
        (encode({}, {"events": b"{}\n" * 200}), Compression.ZSTD, OUTBOX_LIMIT),
        (LONG, Compression.ZSTD, len(LONG) - 1),
        (short_form(LONG), Compression.ZSTD, OUTBOX_LIMIT),
        (short_form(NOISE), Compression.ZSTD, OUTBOX_LIMIT),
        (b"no record" * 1000, Compression.ZSTD, OUTBOX_LIMIT),
        (LONG.replace(b"\n", b" "), Compression.ZSTD, OUTBOX_LIMIT),
    ],
    ids=["not wanted", "short", "too long for its readers", "compressed", "compressed noise", "no record", "one line"],
)
def test_others_are_written_as_they_are(value: bytes, compression: Compression, limit: int) -> None:
    assert compressed(value, compression, limit) is value


def test_what_cannot_get_shorter_hardly_gets_longer() -> None:
    assert len(short_form(NOISE)) <= len(NOISE) + 32
    assert replace_form(decode(short_form(NOISE))) == decode(NOISE)


@given(st.integers(min_value=0, max_value=len(short_form(LONG)) - 1))
def test_a_compressed_record_that_was_cut_short_is_refused(length: int) -> None:
    with pytest.raises(FormError):
        decode(short_form(LONG)[:length])


_writer = zstd.ZstdCompressor(
    options={zstd.CompressionParameter.window_log: 25, zstd.CompressionParameter.content_size_flag: 0}
)
LARGE_WINDOW = _writer.compress(b"{}\n{}\n") + _writer.flush()
"""libzstd says that it requires too much memory, which is not that there is none."""


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"no frame",
        zstd.compress(b"{}\n"),
        zstd.compress(b"{}\n" * 3),
        zstd.compress(b"{}\n{}\n") + b"more",
        zstd.compress(b"{}\n") * 2,
        zstd.compress(bytes(1 << 26)),
        zstd.compress(b"{}\n{}\n")[:-1],
        LARGE_WINDOW,
    ],
    ids=["nothing", "none", "short", "long", "more", "two", "bomb", "cut", "large window"],
)
def test_a_frame_of_anything_else_is_refused(frame: bytes) -> None:
    with pytest.raises(FormError, match="the record's sections cannot be unpacked"):
        decode(b'{"form":3,"sections":{"events":6}}\n' + frame)


def test_nothing_is_unpacked_beyond_the_limit() -> None:
    value = short_form(LONG)

    with pytest.raises(FormError, match="have 21003 bytes, 21002 are unpacked"):
        decode(value, 21_002)
    assert decode(value, 21_003).section("receipts") == b"{}\n"
