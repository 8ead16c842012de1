"""ClickHouse's HTTP interface: https://clickhouse.com/docs/interfaces/http."""

import asyncio
import base64
import gzip
import secrets
import sys

import aiohttp
import lz4.frame
import pytest

from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.clickhouse.framing import FrameReader, frame
from tests.eventually import eventually
from tests.integration.embedded_clickhouse.asking import ask, rows, value

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


async def test_health_is_told_without_a_query(at: str) -> None:
    for path in ("/ping", "/replicas_status", "/"):
        answer = await ask(at + path, method="GET")
        assert (answer.status, answer.body) == (200, b"Ok.\n")


async def test_an_unknown_path_is_told(at: str) -> None:
    answer = await ask(at + "/nothing", method="GET")
    assert answer.status == 404
    assert "There is no handle /nothing" in answer.text


async def test_a_query_is_taken_from_the_url_the_body_or_both(at: str) -> None:
    assert (await ask(at, method="GET", query="SELECT 1")).body == b"1\n"
    assert (await ask(at, "SELECT 1")).body == b"1\n"
    assert (await ask(at, "1", query="SELECT")).body == b"1\n"


async def test_the_format_is_chosen_in_four_ways(at: str) -> None:
    assert (await ask(at, "SELECT 1 AS a FORMAT JSONEachRow")).body == b'{"a":1}\n'
    assert (await ask(at, "SELECT 1 AS a", default_format="JSONEachRow")).body == b'{"a":1}\n'
    by_header = await ask(at, "SELECT 1 AS a", headers={"X-ClickHouse-Format": "jsoneachrow"}, default_format="CSV")
    assert by_header.body == b'{"a":1}\n'
    assert by_header.headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert by_header.headers["Content-Type"] == "application/x-ndjson; charset=UTF-8"
    plain = await ask(at, "SELECT 1 AS a")
    assert plain.headers["X-ClickHouse-Format"] == "TabSeparated"
    assert plain.headers["Content-Type"].startswith("text/tab-separated-values")


async def test_an_unknown_format_is_refused(at: str) -> None:
    for asked in (
        await ask(at, "SELECT 1 FORMAT Nonsense"),
        await ask(at, "SELECT 1", default_format="Nonsense"),
        await ask(at, "SELECT 1", default_format="CSV SETTINGS max_threads=1"),
    ):
        assert (asked.status, asked.code) == (404, 73)


async def test_parameters_are_values_and_never_sql(at: str) -> None:
    text = "it's \\ \"all\" ' OR 1=1 -- \u5c4a\u3051"
    escaped = text.replace("\\", "\\\\")
    query = "SELECT {text:String} = {same:String}, {numbers:Array(UInt8)}[2], {when:DateTime}, {none:Nullable(String)}"
    answer = await ask(
        at,
        query,
        param_text=escaped,
        param_same=escaped,
        param_numbers="[1,2]",
        param_when="2026-01-25 05:06:07",
        param_none="\\N",
    )
    assert answer.body == b"1\t2\t2026-01-25 05:06:07\t\\N\n"
    assert await value(at, "SELECT {text:String} FORMAT TSVRaw", param_text=escaped) == text


async def test_a_missing_parameter_is_told(at: str) -> None:
    answer = await ask(at, "SELECT {absent:UInt8}")
    assert answer.code == 456


async def test_settings_hold_for_one_query(at: str) -> None:
    assert await value(at, "SELECT getSetting('max_threads')", max_threads=3) == "3"
    assert await value(at, "SELECT getSetting('max_threads')", max_threads=1) == "1"
    assert await value(at, "SELECT getSetting('max_block_size')") != "7"
    quoted = await value(at, "SELECT getSetting('log_comment')", log_comment="it's")
    assert quoted.startswith("it\\'s")


async def test_defaults_are_a_servers(at: str) -> None:
    answer = await ask(at, "1 + 1")
    assert answer.code == 62  # clickhouse-local would take it for SELECT 1 + 1


async def test_an_unknown_setting_is_refused(at: str) -> None:
    answer = await ask(at, "SELECT 1", no_such_setting=1)
    assert (answer.status, answer.code) == (404, 115)


async def test_the_database_is_chosen_by_parameter_or_header(at: str, database: str) -> None:
    assert (await ask(at, f"CREATE DATABASE {database}")).status == 200
    assert await value(at, "SELECT currentDatabase()", database=database) == database
    by_header = await ask(at, "SELECT currentDatabase()", headers={"X-ClickHouse-Database": database})
    assert by_header.text.strip() == database
    assert await value(at, "SELECT currentDatabase()") == "default"
    missing = await ask(at, "SELECT 1", database="nowhere")
    assert (missing.status, missing.code) == (404, 81)
    assert (await ask(at, f"DROP DATABASE {database}")).status == 200


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("SELECT nothing", 404, 47),
        ("SELECT * FROM nowhere", 404, 60),
        ("SELEC 1", 400, 62),
        ("SELECT toUInt8('x')", 400, 6),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT 1; SELECT 2", 400, 62),
        ("INSERT INTO nowhere FORMAT TSV\n1", 404, 60),
        ("SELECT 1 INTO OUTFILE 'x'", 500, 358),
        (
            "SELECT sleep(3) SETTINGS max_execution_time = 0.1, function_sleep_max_microseconds_per_block = 9000000",
            408,
            159,
        ),
    ],
)
async def test_errors_have_code_status_and_text(at: str, query: str, status: int, code: int) -> None:
    answer = await ask(at, query)
    assert (answer.status, answer.code) == (status, code)
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert "(version " in answer.text
    assert answer.headers["Content-Type"] == "text/plain; charset=UTF-8"


async def test_get_is_read_only(at: str, table: str) -> None:
    for query in (
        f"INSERT INTO {table} VALUES (1, 'x')",
        f"INSERT INTO {table} SELECT 1, 'x'",
        f"DROP TABLE {table}",
        f"ALTER TABLE {table} DELETE WHERE 1",
        "CREATE DATABASE by_get",
        "KILL QUERY WHERE 0",
        f"WITH 1 AS a INSERT INTO {table} SELECT a, 'x'",
    ):
        alone = await ask(at, method="GET", query=query)
        within = await ask(at, method="GET", query=query, session_id=secrets.token_hex(4))
        assert {(answer.status, answer.code) for answer in (alone, within)} == {(500, 164)}, query
    assert (await ask(at, method="GET", query="SELECT 1 SETTINGS readonly = 0")).code == 164
    assert (await ask(at, method="GET", query=f"SELECT count() FROM {table}", max_threads=1)).body == b"0\n"
    assert (await ask(at, method="GET", query="SHOW DATABASES")).status == 200
    assert (await ask(at, method="HEAD", query="SELECT 1")).status == 200


async def test_the_counts_are_told(at: str, table: str) -> None:
    written = await ask(at, f"INSERT INTO {table} (n) SELECT number FROM numbers(10)")
    assert written.summary["written_rows"] == 10
    written = await ask(at, "1\n2\n3\n", query=f"INSERT INTO {table} (n) FORMAT TSV")
    assert (written.summary["written_rows"], written.summary["result_rows"]) == (3, 3)
    read = await ask(at, f"SELECT n FROM {table} WHERE n < 5")
    assert read.summary["read_rows"] == 13
    assert read.summary["result_rows"] == 8
    assert read.summary["elapsed_ns"] > 0
    assert (await ask(at, f"SELECT n FROM {table} WHERE n > 500")).summary["result_rows"] == 0


async def test_a_query_has_the_id_it_was_given(at: str) -> None:
    assert (await ask(at, "SELECT 1", query_id="mine-1")).headers["X-ClickHouse-Query-Id"] == "mine-1"
    by_header = await ask(at, "SELECT 1", headers={"X-ClickHouse-Query-Id": "mine-2"})
    assert by_header.headers["X-ClickHouse-Query-Id"] == "mine-2"
    assert len((await ask(at, "SELECT 1")).headers["X-ClickHouse-Query-Id"]) == 36


def slow_query() -> tuple[str, str]:
    """Give a query that does not end, and one that counts it among those that run."""
    mark = secrets.token_hex(8)
    running = f"SELECT count() FROM system.processes WHERE query LIKE '%{mark}%' AND query NOT LIKE '%processes%'"
    return f"SELECT count() /* {mark} */ FROM numbers(100000000000) WHERE sipHash64(number) = 1", running


async def until(at: str, count: int, running: str) -> None:
    await eventually(lambda: value(at, running), lambda found: found == str(count))


async def test_a_query_is_killed_by_its_id(at: str) -> None:
    query, running = slow_query()
    name = f"slow-{secrets.token_hex(4)}"
    slow = asyncio.create_task(ask(at, query, query_id=name))
    await until(at, 1, running)
    assert (await ask(at, "SELECT 1", query_id=name)).code == 216
    killed = await ask(at, f"KILL QUERY WHERE query_id = '{name}' SYNC")
    assert killed.text.startswith("finished\t")
    answer = await slow
    assert (answer.status, answer.code) == (500, 394)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_query_stops_when_its_client_goes(at: str, *, streaming: bool) -> None:
    query, running = slow_query()
    if streaming:
        query = query.replace("count()", "number").replace("sipHash64(number) = 1", "1")
    slow = asyncio.create_task(ask(at, query))
    await until(at, 1, running)
    slow.cancel()
    await until(at, 0, running)


async def test_queries_run_beside_each_other(at: str, table: str) -> None:
    query, running = slow_query()
    slow = asyncio.create_task(ask(at, query))
    await until(at, 1, running)
    async with asyncio.timeout(20):
        answers = await asyncio.gather(
            *(ask(at, f"{number}\n", query=f"INSERT INTO {table} (n) FORMAT TSV") for number in range(20)),
            *(ask(at, f"SELECT {number}") for number in range(20)),
            *(ask(at + "/ping", method="GET") for _ in range(5)),
        )
        assert {answer.status for answer in answers} == {200}
        assert await value(at, f"SELECT count() FROM {table}") == "20"
    assert not slow.done()
    slow.cancel()
    await until(at, 0, running)


async def test_many_queries_with_parameters_do_not_mix(at: str) -> None:
    async def one(number: int) -> bool:
        return await value(at, "SELECT {n:UInt32} + getSetting('max_threads')", param_n=number, max_threads=2) == str(
            number + 2
        )

    assert all(await asyncio.gather(*(one(number) for number in range(60))))


ENCODED = {
    "gzip": (gzip.compress, gzip.decompress),
    "zstd": (zstd.compress, zstd.decompress),
    "lz4": (lz4.frame.compress, lz4.frame.decompress),
}

ZSTD = {"Content-Encoding": "zstd"}


@pytest.mark.parametrize("encoding", ENCODED)
async def test_content_is_encoded_in_both_directions(at: str, table: str, encoding: str) -> None:
    compress, decompress = ENCODED[encoding]
    body = b"".join(b"%d\ttext %d\n" % (number, number) for number in range(100_000))
    sent = await ask(
        at, compress(body), query=f"INSERT INTO {table} FORMAT TSV", headers={"Content-Encoding": encoding}
    )
    assert (sent.status, sent.summary["written_rows"]) == (200, 100_000), sent.text
    answer = await ask(at, f"SELECT * FROM {table} ORDER BY n", headers={"Accept-Encoding": encoding})
    assert answer.headers["Content-Encoding"] == encoding
    assert decompress(answer.body) == body
    statement = await ask(at, compress(b"SELECT 1"), headers={"Content-Encoding": encoding})
    assert statement.body == b"1\n"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("INSERT INTO {table} (n) FORMAT TSV", "1\n2\n"),
        ("INSERT INTO {table} (n) FORMAT TSV ", "1\n2"),
        ("INSERT INTO {table} (n) FORMAT", "TSV\n1\n2\n"),
        ("INSERT INTO {table} (n)", "VALUES (1), (2)"),
        ("INSERT INTO {table} (n) VALUES", "(1), (2)"),
        ("INSERT INTO {table} (n) VALUES (1),", "(2)"),
        ("INSERT INTO {table} (n) FORMAT TSV\n1", "2\n"),
        ("INSERT INTO {table} (n) /* FORMAT", "*/ VALUES (1), (2)"),
        ("INSERT INTO {table} (n)", "SELECT number FROM numbers(1, 2)"),
        ("-- rows", "INSERT INTO {table} (n) FORMAT TSV\n1\n2\n"),
    ],
)
async def test_a_statement_goes_on_in_the_body_wherever_the_url_ends(
    at: str, table: str, query: str, body: str
) -> None:
    written = await ask(
        at, zstd.compress(body.format(table=table).encode()), query=query.format(table=table), headers=ZSTD
    )
    assert written.status == 200, written.text
    assert (await ask(at, f"SELECT n FROM {table} ORDER BY n")).body == b"1\n2\n"


@pytest.mark.parametrize("lacking", [1, 3, 100])
async def test_of_rows_whose_encoding_is_cut_short_none_is_inserted(at: str, table: str, lacking: int) -> None:
    body = zstd.compress(b"".join(b"%d\ttext %d\n" % (number, number) for number in range(100_000)))
    sent = await ask(at, body[:-lacking], query=f"INSERT INTO {table} FORMAT TSV", headers=ZSTD)
    assert sent.code == 32
    assert (await ask(at, f"SELECT count() FROM {table}")).body == b"0\n"


async def test_a_small_answer_is_encoded_as_well(at: str) -> None:
    headers = {"Accept-Encoding": "gzip"}
    answer = await ask(at, "SELECT 1", headers=headers)
    assert gzip.decompress(answer.body) == b"1\n"
    failed = await ask(at, "SELECT nothing", headers=headers)
    assert gzip.decompress(failed.body).startswith(b"Code: 47.")
    assert (await ask(at, "SELECT 1", headers=headers, enable_http_compression=0)).body == b"1\n"


async def test_clickhouses_framing_in_both_directions(at: str, table: str) -> None:
    body = b"".join(b"%d\ttext %d\n" % (number, number) for number in range(200_000))
    sent = await ask(at, frame(body), query=f"INSERT INTO {table} FORMAT TSV", decompress=1)
    assert (sent.status, sent.summary["written_rows"]) == (200, 200_000), sent.text
    answer = await ask(at, f"SELECT * FROM {table} ORDER BY n", compress=1)
    assert b"".join(FrameReader().feed(answer.body)) == body
    assert "Content-Encoding" not in answer.headers
    both = await ask(at, gzip.compress(frame(b"SELECT 1")), decompress=1, headers={"Content-Encoding": "gzip"})
    assert both.body == b"1\n"


@pytest.mark.parametrize(
    ("body", "decompress", "headers", "code"),
    [
        (b"SELECT 1" * 10, 1, {}, 271),
        (frame(b"SELECT 1")[:-1], 1, {}, 32),
        (b"SELECT 1", 0, {"Content-Encoding": "gzip"}, 354),
        (gzip.compress(b"SELECT 1", mtime=0)[:-1], 0, {"Content-Encoding": "gzip"}, 32),
        (b"SELECT 1", 0, {"Content-Encoding": "snappy"}, 48),
    ],
)
async def test_a_body_that_is_not_what_it_says(
    at: str, body: bytes, decompress: int, headers: dict[str, str], code: int
) -> None:
    assert (await ask(at, body, headers=headers, decompress=decompress)).code == code


async def test_a_failure_after_the_first_rows_is_told_within_the_result(at: str) -> None:
    query = "SELECT throwIf(number = 3000000), number FROM numbers(4000000) SETTINGS max_threads = 1"
    body = bytearray()

    async def read(content: aiohttp.StreamReader) -> None:
        async for piece in content.iter_any():
            body.extend(piece)

    async with aiohttp.ClientSession() as session, session.post(at, data=query) as response:
        assert response.status == 200
        tag = response.headers["X-ClickHouse-Exception-Tag"]
        with pytest.raises(aiohttp.ClientPayloadError):
            await read(response.content)
    end = body[-2000:].decode()
    assert f"\r\n__exception__\r\n{tag}\r\nCode: 395. DB::Exception: " in end
    text = end.rpartition(f"__exception__\r\n{tag}\r\n")[2].partition(f" {tag}\r\n__exception__\r\n")[0]
    message, _, length = text.rpartition("\n")
    assert int(length) == len(message) + 1


async def test_a_failure_has_its_status_if_the_end_is_waited_for(at: str) -> None:
    query = "SELECT throwIf(number = 3000000), number FROM numbers(4000000)"
    answer = await ask(at, query, wait_end_of_query=1)
    assert (answer.status, answer.code) == (500, 395)
    whole = await ask(at, "SELECT number FROM numbers(1000000)", wait_end_of_query=1)
    assert whole.summary["result_rows"] == 1_000_000
    assert whole.body.count(b"\n") == 1_000_000


@pytest.mark.parametrize(
    ("name", "head", "tail"),
    [
        ("JSONCompact", b'{\n\t"meta":', b"}\n"),
        ("CSVWithNames", b'"number"\n', b"\n1999999\n"),
        ("Arrow", b"ARROW1", b"ARROW1"),
        ("Parquet", b"PAR1", b"PAR1"),
    ],
)
async def test_a_result_larger_than_any_buffer_is_one_document(at: str, name: str, head: bytes, tail: bytes) -> None:
    answer = await ask(at, f"SELECT number FROM numbers(2000000) ORDER BY number FORMAT {name}")
    assert answer.status == 200
    assert answer.body.startswith(head)
    assert answer.body.endswith(tail)
    assert answer.body.count(head) == (2 if head == tail else 1)
    assert answer.summary["result_rows"] > 0  # JDBC takes 0 for an empty result


async def test_rows_may_follow_in_url_and_body(at: str, table: str) -> None:
    for query, body in (
        (f"INSERT INTO {table} (n) VALUES", "(1), (1 + 1),\n(3)"),
        (f"INSERT INTO {table} (n) VALUES (4),", "(5)"),
        (f"INSERT INTO {table} (n) FORMAT JSONEachRow", '{"n": 6}\n{"n": "7"}'),
        ("", f'INSERT INTO {table} FORMAT CSV\n8,"x"\n'),
        (f"INSERT INTO {table} (n) FORMAT", "TSV\n9\n"),
        (f"INSERT INTO {table} SETTINGS format_csv_delimiter = ';' FORMAT CSV", '12;"none"\n'),
        (f"INSERT INTO {table} (n) SETTINGS async_insert = 0 VALUES", "(13)"),
        (f"INSERT INTO {table} (n) SELECT number + 10 FROM numbers(2)", ""),
    ):
        answer = await ask(at, body, query=query)
        assert answer.status == 200, answer.text
    assert await value(at, f"SELECT arraySort(groupArray(n)) FROM {table}") == str(list(range(1, 14))).replace(" ", "")
    assert await value(at, f"SELECT groupUniqArray(s) FROM {table} WHERE n != 8") == "['none']"


async def test_rows_are_selected_from_input(at: str, table: str) -> None:
    query = f"INSERT INTO {table} SELECT a * 2, upper(b) FROM input('a UInt64, b String') WHERE b != 'y' FORMAT CSV"
    answer = await ask(at, gzip.compress(b"1,x\n2,y\n3,z\n"), query=query, headers={"Content-Encoding": "gzip"})
    assert answer.status == 200, answer.text
    assert await rows(at, f"SELECT n, s FROM {table} ORDER BY n") == [["2", "X"], ["6", "Z"]]


async def test_rows_from_input_are_counted_each_time_anew(at: str, table: str) -> None:
    query = f"INSERT INTO {table} (n) SELECT count() FROM input('a String') FORMAT TSV"
    for rows_ in ("x\n", "x\ny\n", "x\ny\nz\n"):
        answer = await ask(at, rows_, query=query)
        assert answer.status == 200, answer.text
    assert await value(at, f"SELECT arraySort(groupArray(n)) FROM {table}") == "[1,2,3]"
    assert await value(at, "SELECT getSetting('use_cache_for_count_from_files')") == "false"


async def test_rows_from_input_are_inserted_once_by_their_token(at: str) -> None:
    await ask(
        at,
        "CREATE OR REPLACE TABLE chosen (a LowCardinality(String)) ENGINE = MergeTree ORDER BY a"
        " SETTINGS non_replicated_deduplication_window = 10",
    )
    query = "INSERT INTO chosen SELECT * FROM input('a String') FORMAT TSV"
    for _ in range(2):
        answer = await ask(at, "x\ny\nz\n", query=query, max_block_size="1", insert_deduplication_token="once")
        assert answer.status == 200, answer.text
    parts = "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = 'chosen'"
    assert (await value(at, "SELECT count() FROM chosen"), await value(at, parts)) == ("3", "1")


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO {table} (n) SELECT * FROM input() FORMAT TSV",
        "INSERT INTO {table} (n) SELECT * FROM input('n ' || 'UInt64') FORMAT TSV",
        "INSERT INTO {table} (n) SELECT * FROM `input`('n UInt64') FORMAT TSV",
        "WITH 1 AS x INSERT INTO {table} (n) SELECT n FROM input('n UInt64') FORMAT TSV",
    ],
)
async def test_input_in_other_words_is_refused(at: str, table: str, query: str) -> None:
    answer = await ask(at, "1\n", query=query.format(table=table))
    assert (answer.status, answer.code) == (501, 48)
    assert "input('column type, ...')" in answer.text


async def test_a_table_may_be_called_input(at: str) -> None:
    await ask(at, "CREATE OR REPLACE TABLE input (a Int8) ENGINE = Memory")
    assert (await ask(at, "INSERT INTO input (a) SELECT a + 1 FROM (SELECT 1 AS a)")).status == 200
    assert (await ask(at, "INSERT INTO input SELECT a + 1 FROM input")).status == 200
    assert await value(at, "SELECT arraySort(groupArray(a)) FROM input") == "[2,3]"


@pytest.mark.parametrize(
    "query",
    ["INSERT INTO {table} (SELECT n FROM input('n UInt8')) FORMAT TSV", "INSERT INTO {table} (n) oops FORMAT TSV"],
)
async def test_nobody_sees_where_the_rows_of_a_wrong_insert_are_kept(at: str, table: str, query: str) -> None:
    answer = await ask(at, "1\n", query=query.format(table=table))
    assert (answer.status, answer.code) == (400, 62)
    assert "/dev/fd" not in answer.text, answer.text
    assert await value(at, f"SELECT count() FROM {table}") == "0"


@pytest.mark.parametrize("column", ["_path", "missing"])
async def test_nobody_sees_where_the_rows_of_input_are_kept(at: str, table: str, column: str) -> None:
    query = f"INSERT INTO {table} (n) SELECT {column} FROM input('a UInt8') FORMAT TSV"
    answer = await ask(at, "1\n", query=query)
    assert (answer.status, answer.code) == (404, 47)
    assert "/dev/fd" not in answer.text
    assert "input('a UInt8')" in answer.text


async def test_bad_rows_of_input_are_refused_with_their_place(at: str, table: str) -> None:
    answer = await ask(at, "1\n2\nx\n", query=f"INSERT INTO {table} (n) SELECT a FROM input('a UInt8') FORMAT TSV")
    assert (answer.status, answer.code) == (400, 27)
    assert "row 3" in answer.text
    assert "/dev/fd" not in answer.text
    assert await value(at, f"SELECT count() FROM {table}") == "0"


async def test_rows_take_parameters(at: str, table: str) -> None:
    answer = await ask(
        at, "", query="INSERT INTO {t:Identifier} VALUES (1, {s:String})", param_t=table, param_s="it's \\\\ ok"
    )
    assert answer.status == 200, answer.text
    assert await value(at, f"SELECT s FROM {table} FORMAT TSVRaw") == "it's \\ ok"


async def test_bad_rows_are_refused_with_their_place(at: str, table: str) -> None:
    answer = await ask(at, "1\n2\nx\n", query=f"INSERT INTO {table} (n) FORMAT TSV")
    assert (answer.status, answer.code) == (400, 27)
    assert "row 3" in answer.text
    assert await value(at, f"SELECT count() FROM {table}") == "0"


@pytest.mark.parametrize(
    ("hindrance", "code"),
    [
        ("ALTER TABLE {table} ADD CONSTRAINT small CHECK n < 9", 469),
        ("CREATE MATERIALIZED VIEW {table}_view ENGINE = Null AS SELECT throwIf(n = 9) FROM {table}", 395),
        ("CREATE MATERIALIZED VIEW {table}_view ENGINE = Null AS SELECT repeat('x', n * 10000000) FROM {table}", 241),
    ],
)
async def test_what_fails_behind_the_parser_is_told(at: str, table: str, hindrance: str, code: int) -> None:
    assert (await ask(at, hindrance.format(table=table))).status == 200

    answer = await ask(at, "1\n9\n", query=f"INSERT INTO {table} (n) FORMAT TSV", max_memory_usage=40_000_000)

    assert answer.status != 200
    assert answer.code == code, answer.text


async def test_a_body_cut_short_inserts_nothing(at: str, clickhouse: EmbeddedClickHouse, table: str) -> None:
    body = b"".join(b"%d\n" % number for number in range(300_000))
    reader, writer = await asyncio.open_connection(clickhouse.host, clickhouse.port)
    writer.write(
        f"POST /?query_id={table}&query=INSERT+INTO+{table}+(n)+FORMAT+TSV HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {len(body) + 1}\r\n\r\n".encode()
    )
    writer.write(body)
    await writer.drain()

    async def same_id() -> int:
        return (await ask(at, "SELECT 1", query_id=table)).code

    is_running = 216
    await eventually(same_id, lambda code: code == is_running)
    writer.close()
    await eventually(same_id, lambda code: code == 0)
    assert await value(at, f"SELECT count() FROM {table}") == "0"
    assert await reader.read() == b""


async def test_a_session_keeps_what_it_was_told(at: str, database: str) -> None:
    session = secrets.token_hex(8)
    assert (await ask(at, "CREATE TEMPORARY TABLE kept (a Int8)", session_id=session)).status == 200
    assert (await ask(at, "INSERT INTO kept VALUES (1), (2)", session_id=session)).status == 200
    assert await value(at, "SELECT sum(a) FROM kept", session_id=session) == "3"
    assert (await ask(at, "SELECT * FROM kept")).code == 60
    assert (await ask(at, f"CREATE DATABASE {database}")).status == 200
    assert (await ask(at, f"USE {database}", session_id=session)).status == 200
    assert await value(at, "SELECT currentDatabase()", session_id=session) == database
    assert await value(at, "SELECT currentDatabase()", database="system", session_id=session) == "system"
    assert await value(at, "SELECT currentDatabase()", session_id=session) == database
    assert (await ask(at, "DROP TABLE kept", close_session=1, session_id=session)).status == 200
    assert (await ask(at, f"DROP DATABASE {database}")).status == 200


async def test_settings_of_a_query_do_not_stay_in_its_session(at: str) -> None:
    session = secrets.token_hex(8)
    asked = "SELECT getSetting('max_threads'), getSetting('max_block_size')"
    default = await rows(at, asked, session_id=session)
    assert (await ask(at, "SET max_threads = 3", session_id=session)).status == 200
    assert await rows(at, asked, session_id=session) == [["3", default[0][1]]]
    assert await rows(at, asked, max_threads=1, max_block_size=77, session_id=session) == [["1", "77"]]
    assert await rows(at, asked, session_id=session) == [["3", default[0][1]]]
    assert (await ask(at, method="GET", query="SELECT 1", session_id=session)).status == 200
    assert (await ask(at, "CREATE TEMPORARY TABLE still_writable (a Int8)", session_id=session)).status == 200


async def test_a_session_serves_one_query_at_a_time(at: str) -> None:
    session = secrets.token_hex(8)
    query, running = slow_query()
    slow = asyncio.create_task(ask(at, query, session_id=session))
    await until(at, 1, running)
    assert (await ask(at, "SELECT 1", session_id=session)).code == 373
    slow.cancel()
    await eventually(lambda: ask(at, "SELECT 1", session_id=session), lambda answer: answer.status == 200)


async def test_a_session_can_be_required_and_ends(at: str) -> None:
    name = secrets.token_hex(8)
    missing = await ask(at, "SELECT 1", session_id=name, session_check=1)
    assert missing.code == 372
    assert (await ask(at, "SELECT 1", session_id=name, session_timeout=1)).status == 200
    assert (await ask(at, "SELECT 1", session_id=name, session_check=1, session_timeout=1)).status == 200
    await eventually(
        lambda: ask(at, "SELECT 1", session_id=name, session_check=1, session_timeout=0),
        lambda answer: answer.code == 372,
    )


async def test_tables_come_with_a_form(at: str) -> None:
    form = aiohttp.FormData()
    form.add_field("codes", "1\thard\n2\tsoft\n", filename="codes.tsv", content_type="text/plain")
    form.add_field("param_least", "2")
    parameters = {
        "query": "SELECT name FROM codes WHERE code >= {least:UInt8}",
        "codes_structure": "code UInt8, name String",
    }
    async with aiohttp.ClientSession() as session, session.post(at, params=parameters, data=form) as response:
        assert (response.status, await response.text()) == (200, "soft\n")
    form = aiohttp.FormData()
    form.add_field("query", "SELECT _2 FROM t")
    form.add_field("t_types", "UInt8,Tuple(Int8,Int8)")
    form.add_field("t_format", "TSV")
    form.add_field("t", "1\t(2,3)\n", filename="t")
    async with aiohttp.ClientSession() as session, session.post(at, data=form) as response:
        assert (response.status, await response.text()) == (200, "(2,3)\n")


async def test_pages_of_other_sites_are_kept_out(at: str) -> None:
    for headers in ({"Origin": "https://example.com"}, {"Host": "rebound.example.com"}, {"Origin": "null"}):
        answer = await ask(at, "SELECT 1", headers=headers)
        assert (answer.status, answer.code) == (403, 497)
    for headers in ({"Host": "localhost:8123"}, {"Host": "host.docker.internal:1"}, {"Host": "clickhouse"}):
        assert (await ask(at, "SELECT 1", headers=headers)).body == b"1\n"


async def test_without_a_password_any_is_right_for_the_user(at: str) -> None:
    assert (await ask(at, "SELECT 1", user="default", password="null")).body == b"1\n"
    assert (await ask(at, "SELECT 1", user="nobody")).code == 516


async def test_an_old_client_gets_an_old_answer(clickhouse: EmbeddedClickHouse) -> None:
    reader, writer = await asyncio.open_connection(clickhouse.host, clickhouse.port)
    writer.write(b"GET /?query=SELECT+number+FROM+numbers(500000) HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK")
    assert b"chunked" not in head
    assert body.count(b"\n") == 500_000


async def test_basic_authentication_needs_no_colon_escape(at: str) -> None:
    token = base64.b64encode(b"default:").decode()
    assert (await ask(at, "SELECT 1", headers={"Authorization": f"Basic {token}"})).body == b"1\n"


async def test_the_default_database_is_one_like_others(at: str) -> None:
    assert await value(at, "SELECT engine FROM system.databases WHERE name = 'default'") == "Atomic"
    assert await value(at, "EXISTS TABLE nowhere") == "0"
