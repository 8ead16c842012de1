"""The few things that the embedded ClickHouse reads in a statement itself."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.statements import (
    Insert,
    InsertSelect,
    Kill,
    Other,
    Select,
    quoted,
    read_statement,
    unquoted,
)


@pytest.mark.parametrize(
    ("text", "before", "after", "format_"),
    [
        (b"SELECT 1", b"SELECT 1", b"", None),
        (b"  select 1 ; ", b"  select 1", b"", None),
        (b"SELECT 1 FORMAT JSON", b"SELECT 1 ", b"", "JSON"),
        (b"select 1 format JSONEachRow;", b"select 1 ", b"", "JSONEachRow"),
        (b"SELECT 1 FORMAT JSON SETTINGS a = 1", b"SELECT 1 ", b" SETTINGS a = 1", "JSON"),
        (b"SELECT 1 SETTINGS a = 'x' FORMAT `TSV`", b"SELECT 1 SETTINGS a = 'x' ", b"", "TSV"),
        (b"(SELECT 1) UNION ALL (SELECT 2) FORMAT CSV", b"(SELECT 1) UNION ALL (SELECT 2) ", b"", "CSV"),
        (b"WITH 1 AS x SELECT x", b"WITH 1 AS x SELECT x", b"", None),
        (b"FROM t SELECT a", b"FROM t SELECT a", b"", None),
        (b"SELECT format('{}', 1) AS format", b"SELECT format('{}', 1) AS format", b"", None),
        (b"SELECT ' FORMAT JSON' -- FORMAT CSV", b"SELECT ' FORMAT JSON'", b"", None),
        (b"SELECT (SELECT 1 FORMAT JSON)", b"SELECT (SELECT 1 FORMAT JSON)", b"", None),
        (b"/* FORMAT x */ SELECT 'it''s; \\' ok' FORMAT TSV", b"/* FORMAT x */ SELECT 'it''s; \\' ok' ", b"", "TSV"),
        (b"SELECT $tag$ ; FORMAT JSON $tag$", b"SELECT $tag$ ; FORMAT JSON $tag$", b"", None),
        (b'SELECT "a;b" FROM `c;d`', b'SELECT "a;b" FROM `c;d`', b"", None),
    ],
)
def test_a_select_is_cut_at_its_format(text: bytes, before: bytes, after: bytes, format_: str | None) -> None:
    assert read_statement(text) == Select(before=before, after=after, format=format_)


@pytest.mark.parametrize(
    ("text", "statement", "format_", "rows"),
    [
        (b"INSERT INTO t VALUES (1)", b"INSERT INTO t ", "Values", b" (1)"),
        (b"insert into db.t (a, b) values\n(1, 'FORMAT')", b"insert into db.t (a, b) ", "Values", b"\n(1, 'FORMAT')"),
        (b"INSERT INTO t FORMAT TSV\n1\n2\n", b"INSERT INTO t ", "TSV", b"1\n2\n"),
        (b"INSERT INTO t FORMAT RowBinary\n\n\x01", b"INSERT INTO t ", "RowBinary", b"\n\x01"),
        (b"INSERT INTO t FORMAT CSV\r\n1", b"INSERT INTO t ", "CSV", b"1"),
        (b'INSERT INTO t FORMAT JSONEachRow {"a": 1}', b"INSERT INTO t ", "JSONEachRow", b'{"a": 1}'),
        (b"INSERT INTO t FORMAT TSV", b"INSERT INTO t ", "TSV", b""),
        (b"INSERT INTO settings FORMAT TSV\n1", b"INSERT INTO settings ", "TSV", b"1"),
        (b"INSERT INTO format.values FORMAT TSV\n1", b"INSERT INTO format.values ", "TSV", b"1"),
        (b"INSERT INTO values VALUES (1)", b"INSERT INTO values ", "Values", b" (1)"),
        (b"INSERT INTO {t:Identifier} VALUES (1)", b"INSERT INTO {t:Identifier} ", "Values", b" (1)"),
        (
            b"INSERT INTO FUNCTION file('x', 'CSV', 'format Int8') VALUES (1)",
            b"INSERT INTO FUNCTION file('x', 'CSV', 'format Int8') ",
            "Values",
            b" (1)",
        ),
    ],
)
def test_an_insert_is_cut_where_its_rows_begin(text: bytes, statement: bytes, format_: str, rows: bytes) -> None:
    assert read_statement(text) == Insert(text=statement, format=format_, rows=rows)


def test_the_settings_of_an_insert_stand_apart() -> None:
    text = b"INSERT INTO t.settings (settings) SETTINGS a = 1, b = 'FORMAT' FORMAT TSV\n1"
    assert read_statement(text) == Insert(
        text=b"INSERT INTO t.settings (settings) ", settings=b"SETTINGS a = 1, b = 'FORMAT' ", format="TSV", rows=b"1"
    )
    assert read_statement(b"INSERT INTO t SETTINGS a = 1 VALUES (2)") == Insert(
        text=b"INSERT INTO t ", settings=b"SETTINGS a = 1 ", format="Values", rows=b" (2)"
    )


def test_rows_are_not_read_as_sql() -> None:
    rows = b"1;\n'; DROP TABLE x; (((\n" + bytes(range(256))
    assert read_statement(b"INSERT INTO t FORMAT RowBinary\n" + rows) == Insert(
        text=b"INSERT INTO t ", format="RowBinary", rows=rows
    )


def test_an_insert_from_a_select_is_small() -> None:
    text = b"INSERT INTO t (a) SELECT number FROM numbers(3)"
    assert read_statement(text) == Other(text=text, keyword="INSERT", format=None)


def test_an_insert_from_input_is_cut_in_three() -> None:
    text = b"INSERT INTO t SELECT a + 1 FROM input('a Int8, b String') WHERE b != '' FORMAT CSV\n1,x\n"
    assert read_statement(text) == InsertSelect(
        before=b"INSERT INTO t SELECT a + 1 FROM ",
        structure=b"'a Int8, b String'",
        after=b" WHERE b != '' ",
        format="CSV",
        rows=b"1,x\n",
    )


def test_rows_behind_an_insert_from_input_are_not_read() -> None:
    text = b"INSERT INTO t SELECT * FROM input('a String') FORMAT CSV\n'input('b String') FORMAT TSV; $$ ("
    found = read_statement(text)
    assert isinstance(found, InsertSelect)
    assert (found.format, found.structure) == ("CSV", b"'a String'")
    assert found.rows == b"'input('b String') FORMAT TSV; $$ ("


def test_an_insert_from_input_reads_a_file() -> None:
    found = read_statement(b"INSERT INTO t SELECT a FROM input('a Enum(\\'x\\' = 1)') WHERE 1 FORMAT CSV\n")
    assert isinstance(found, InsertSelect)
    assert found.reading("/dev/fd/9") == (
        b"INSERT INTO t SELECT a FROM (SELECT * FROM file('/dev/fd/9', 'CSV', 'a Enum(\\'x\\' = 1)', 'none')) WHERE 1 "
    )


def test_the_source_may_stand_before_what_is_selected() -> None:
    found = read_statement(b"INSERT INTO t FROM input('a Int8') SELECT a FORMAT CSV\n1\n")
    assert isinstance(found, InsertSelect)
    assert (found.before, found.structure, found.rows) == (b"INSERT INTO t FROM ", b"'a Int8'", b"1\n")


def test_an_insert_from_input_needs_a_format() -> None:
    with pytest.raises(ClickHouseError) as refused:
        read_statement(b"INSERT INTO t SELECT * FROM input('a Int8')")
    assert refused.value.code == 73


def test_literals_of_a_kill_are_told_apart() -> None:
    found = read_statement(b"KILL QUERY WHERE query_id = 'a''b' OR user = 'c' SYNC;")
    assert found == Kill(pieces=(b"KILL QUERY WHERE query_id = ", b"'a''b'", b" OR user = ", b"'c'", b" SYNC"))


@pytest.mark.parametrize(
    ("text", "keyword", "format_"),
    [
        (b"SHOW TABLES FORMAT JSON", "SHOW", "JSON"),
        (b"CREATE TABLE t (format String) ENGINE = Memory", "CREATE", None),
        (b"ALTER TABLE t DELETE WHERE a = ';'", "ALTER", None),
        (b"EXPLAIN SELECT 1", "EXPLAIN", None),
        (b"selec 1", "SELEC", None),
    ],
)
def test_other_statements(text: bytes, keyword: str, format_: str | None) -> None:
    assert read_statement(text) == Other(text=text, keyword=keyword, format=format_)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", 62),
        (b" -- nothing", 62),
        (b";", 62),
        (b"SELECT 1; SELECT 2", 62),
        (b"DROP TABLE a; DROP TABLE b", 62),
        (b"SELECT 1 INTO OUTFILE 'x'", 358),
        (b"INSERT INTO t FROM INFILE 'x' FORMAT CSV", 78),
    ],
)
def test_what_a_server_does_not_take(text: bytes, code: int) -> None:
    with pytest.raises(ClickHouseError) as refused:
        read_statement(text)
    assert refused.value.code == code


@given(st.text())
def test_a_literal_is_read_as_it_was_written(value: str) -> None:
    assert unquoted(quoted(value).encode("utf-8", "surrogatepass")) == value.encode("utf-8", "surrogatepass").decode(
        "utf-8", "replace"
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    with suppress(ClickHouseError):
        read_statement(text)


@given(st.text(alphabet="'\"`;()$-#/* \nFORMAT", max_size=60))
def test_any_punctuation_is_read_or_refused(text: str) -> None:
    with suppress(ClickHouseError):
        read_statement(b"SELECT " + text.encode())
