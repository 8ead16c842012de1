"""The form of internal records: what was written is read, and nothing else is."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.contracts.codec import FORM, SPREAD_FORM, Record, decode, encode, form_header, lines_of
from streams.contracts.errors import FormError, LaterFormError

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
    with pytest.raises(LaterFormError, match="form 3, this version of todoke reads forms up to 2: upgrade"):
        decode(b'{"form":3,"sections":{}}\n')


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
