"""clickhouse-connect, sync and async, as its users use it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal

import clickhouse_connect
import pandas as pd
import pytest
import pytest_asyncio
from clickhouse_connect.driver import AsyncClient, Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from deploy.embedded.clickhouse import EmbeddedClickHouse

WHEN = datetime(2026, 1, 25, 5, 6, 7, 123000, tzinfo=UTC)
LINES = b"".join(
    b'{"n":%d,"s":"text %d","at":"2026-01-25T05:06:07.123Z"}\n' % (number, number) for number in range(50_000)
)
CREATE = "CREATE TABLE {} (n UInt64, s LowCardinality(String), at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY n"


@pytest.fixture(params=[True, "gzip", "zstd", False], ids=str)
def client(request: pytest.FixtureRequest, clickhouse: EmbeddedClickHouse) -> Iterator[Client]:
    """Give a client for each kind of compression; True takes lz4."""
    compress: bool | str = request.param
    with clickhouse_connect.get_client(
        host=clickhouse.host, port=clickhouse.port, compress=compress, tz_mode="aware"
    ) as made:
        yield made


@pytest_asyncio.fixture
async def async_client(clickhouse: EmbeddedClickHouse) -> AsyncIterator[AsyncClient]:
    client = await clickhouse_connect.get_async_client(host=clickhouse.host, port=clickhouse.port)
    yield client
    await client.close()


@pytest.fixture
def table(database: str) -> str:
    return f"default.t_{database}"


def test_queries_with_parameters_and_settings(client: Client) -> None:
    result = client.query(
        "SELECT {n:UInt32} AS n, {texts:Array(String)} AS texts, getSetting('max_threads') AS t",
        parameters={"n": 7, "texts": ["it's", "\\ tab\t", "届け"]},
        settings={"max_threads": 3},
    )
    assert result.column_names == ("n", "texts", "t")
    assert result.result_rows == [(7, ["it's", "\\ tab\t", "届け"], 3)]
    assert client.query("SELECT %(text)s", parameters={"text": "it's"}).result_rows == [("it's",)]
    assert result.summary["result_rows"] == "1"
    assert client.ping()
    assert client.server_version == client.command("SELECT version()")


def test_types_survive(client: Client) -> None:
    row = client.query(
        "SELECT toDecimal64('1.25', 4), toDateTime64('2026-01-25 05:06:07.123', 3, 'UTC'), NULL::Nullable(UInt8), "
        "map('a', 1), (1, 'x'), toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0'), toIPv4('192.0.2.1'), "
        "CAST('b', 'Enum8(\\'a\\' = 1, \\'b\\' = 2)'), [[1], []], toFixedString('ab', 2), -1::Int128, true"
    ).result_rows[0]
    assert row[:4] == (Decimal("1.2500"), WHEN, None, {"a": 1})
    assert [str(each) for each in row[4:]] == [
        "(1, 'x')", "61f0c404-5cb3-11e7-907b-a6006ad3dba0", "192.0.2.1", "b", "[[1], []]", "b'ab'", "-1", "True",
    ]  # fmt: skip


def test_rows_come_back_as_they_were_inserted(client: Client, table: str) -> None:
    client.command(CREATE.format(table))
    rows = [[number, f"text {number % 7}", WHEN] for number in range(20_000)]
    summary = client.insert(table, rows, column_names=["n", "s", "at"])
    assert summary.written_rows == 20_000
    assert client.query(f"SELECT * FROM {table} ORDER BY n").result_rows == [tuple(row) for row in rows]
    client.command(f"DROP TABLE {table}")


def test_raw_lines_are_inserted(client: Client, table: str) -> None:
    client.command(CREATE.format(table))
    client.raw_insert(table, insert_block=LINES, fmt="JSONEachRow", settings={"date_time_input_format": "best_effort"})
    assert client.query(f"SELECT count(), sum(n), min(at) FROM {table}").result_rows == [(50_000, 1_249_975_000, WHEN)]
    assert client.raw_query(f"SELECT n FROM {table} ORDER BY n LIMIT 2", fmt="CSVWithNames") == b'"n"\n0\n1\n'
    client.command(f"DROP TABLE {table}")


def test_frames_of_pandas(client: Client, table: str) -> None:
    client.command(CREATE.format(table))
    frame = pd.DataFrame({"n": range(1000), "s": ["x"] * 1000, "at": pd.to_datetime([WHEN] * 1000)})
    client.insert_df(table, frame)
    found = client.query_df(f"SELECT n, s FROM {table} ORDER BY n")
    assert found["n"].tolist() == list(range(1000))
    assert set(found["s"]) == {"x"}
    assert client.query_df(f"SELECT n FROM {table} WHERE n > 5000").empty
    client.command(f"DROP TABLE {table}")


def test_results_stream(client: Client) -> None:
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(1000000)") as blocks:
        assert sum(len(block) for block in blocks) == 1_000_000
    with client.query_rows_stream("SELECT number FROM numbers(300000) ORDER BY number") as rows:
        assert [row[0] for row in rows] == list(range(300_000))
    with client.raw_stream("SELECT number FROM numbers(100000)", fmt="TSV") as stream:
        assert stream.read().count(b"\n") == 100_000
    # A stream that is left early does not keep the client from its next query.
    with client.query_row_block_stream("SELECT number FROM numbers(2000000)") as blocks:
        assert next(iter(blocks))
    assert client.command("SELECT 1") == 1


def test_arrow(client: Client) -> None:
    found = client.query_arrow("SELECT number FROM numbers(100000) ORDER BY number")
    assert (found.num_rows, found.column(0)[99_999].as_py()) == (100_000, 99_999)


def test_errors_are_errors(client: Client) -> None:
    with pytest.raises(DatabaseError, match=r"(?s)Code: 60.*UNKNOWN_TABLE"):
        client.query("SELECT * FROM nowhere")
    with pytest.raises(StreamFailureError, match=r"Code: 395"):
        _ = client.query(
            "SELECT throwIf(number = 3000000), number FROM numbers(4000000)", settings={"wait_end_of_query": 0}
        ).result_set
    assert client.command("SELECT 1") == 1


def test_tables_can_come_along(client: Client) -> None:
    external = clickhouse_connect.driver.external.ExternalData(
        file_name="codes.csv", fmt="CSV", types=["String", "UInt8"], data=b"a,1\nb,2\n"
    )
    assert client.query("SELECT _1 FROM codes WHERE _2 = 2", external_data=external).result_rows == [("b",)]


def test_a_session_keeps_temporary_tables(clickhouse: EmbeddedClickHouse) -> None:
    with clickhouse_connect.get_client(
        host=clickhouse.host, port=clickhouse.port, autogenerate_session_id=True
    ) as client:
        client.command("CREATE TEMPORARY TABLE kept (a Int8)")
        client.insert("kept", [[1], [2]])
        assert client.command("SELECT sum(a) FROM kept") == 3


async def test_asynchronously(async_client: AsyncClient, table: str) -> None:
    await async_client.command(CREATE.format(table))
    settings = {"date_time_input_format": "best_effort"}
    await async_client.raw_insert(table, insert_block=LINES, fmt="JSONEachRow", settings=settings)
    await async_client.insert(table, [[1_000_000, "x", WHEN]], column_names=["n", "s", "at"])
    result = await async_client.query(f"SELECT count() FROM {table} WHERE n > {{n:UInt64}}", parameters={"n": 9})
    assert result.result_rows == [(49_991,)]
    frame = await async_client.query_df(f"SELECT n FROM {table} ORDER BY n LIMIT 3")
    assert frame["n"].tolist() == [0, 1, 2]
    total = 0
    async with await async_client.query_row_block_stream("SELECT number FROM numbers(1000000)") as blocks:
        async for block in blocks:
            total += len(block)
    assert total == 1_000_000
    answers = await asyncio.gather(*(async_client.query(f"SELECT {number}") for number in range(30)))
    assert [answer.result_rows[0][0] for answer in answers] == list(range(30))
    with pytest.raises(DatabaseError, match="Code: 47"):
        await async_client.query("SELECT nothing")
    await async_client.command(f"DROP TABLE {table}")
