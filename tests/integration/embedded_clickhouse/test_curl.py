"""curl, as ClickHouse's documentation of its HTTP interface has it, where curl is at hand."""

import shutil
import subprocess

from deploy.embedded.clickhouse import EmbeddedClickHouse

if shutil.which("curl"):

    def curl(url: str, *arguments: str, given: bytes = b"") -> str:
        done = subprocess.run(
            ["curl", "--silent", "--show-error", url, *arguments], input=given, capture_output=True, check=True
        )
        return done.stdout.decode()

    def test_queries(clickhouse: EmbeddedClickHouse) -> None:
        url = clickhouse.url
        assert curl(f"{url}/ping") == "Ok.\n"
        assert curl(url) == "Ok.\n"
        assert curl(f"{url}/?query=SELECT%201") == "1\n"
        assert curl(url, "--data-binary", "@-", given=b"SELECT 1") == "1\n"
        assert curl(f"{url}/?query=", "--data-binary", "@-", given=b"SELECT 1") == "1\n"
        assert curl(f"{url}/?query=SELECT", "--data-binary", "@-", given=b"1") == "1\n"
        assert curl(f"{url}/?query=SELECT%20", "-d", "number FROM numbers(3) FORMAT JSONEachRow").count("\n") == 3
        assert curl(f"{url}?database=system", "-d", "SELECT count() > 100 FROM tables") == "1\n"
        assert "X-ClickHouse-Summary: {" in curl(url, "-i", "-d", "SELECT 1", "-X", "POST")
        assert "X-ClickHouse-Exception-Code: 62" in curl(url, "-i", "-d", "ECT 1")

    def test_inserts(clickhouse: EmbeddedClickHouse) -> None:
        url = clickhouse.url
        assert curl(url, "-d", "CREATE TABLE by_curl (a UInt8) ENGINE = Memory") == ""
        for query, given in (
            ("", b"INSERT INTO by_curl VALUES (1),(2),(3)"),
            ("INSERT%20INTO%20by_curl%20VALUES", b"(4),(5),(6)"),
            ("INSERT%20INTO%20by_curl%20FORMAT%20TabSeparated", b"7\n8\n9\n"),
        ):
            assert curl(f"{url}/?query={query}", "--data-binary", "@-", given=given) == ""
        assert curl(f"{url}/?query=SELECT%20sum(a)%20FROM%20by_curl") == "45\n"
        assert curl(f"{url}", "-X", "POST", "-F", "query=SELECT max(a) FROM by_curl") == "9\n"
        assert curl(url, "--data-binary", "@-", given=b"DROP TABLE by_curl") == ""

    def test_compression(clickhouse: EmbeddedClickHouse) -> None:
        url = clickhouse.url
        query = "SELECT number FROM system.numbers LIMIT 3"
        assert curl(f"{url}/?enable_http_compression=1", "--compressed", "-d", query) == "0\n1\n2\n"
        assert curl(f"{url}/?enable_http_compression=1", "-H", "Accept-Encoding: gzip", "--compressed", "-d", query)

    def test_parameters(clickhouse: EmbeddedClickHouse) -> None:
        url = f"{clickhouse.url}/?param_id=2&param_phrase=test"
        assert curl(url, "-d", "SELECT {id:UInt8}, {phrase:String}") == "2\ttest\n"
        url = f"{clickhouse.url}?param_arg1=abc%5C%09123"
        assert curl(url, "-d", r"SELECT splitByChar('\t', {arg1:String})") == "['abc','123']\n"

    def test_external_data(clickhouse: EmbeddedClickHouse) -> None:
        url = (
            f"{clickhouse.url}/?query=SELECT+shell,+count()+AS+c+FROM+passwd+GROUP+BY+shell+ORDER+BY+c+DESC"
            "&date_time_input_format=best_effort"
            "&passwd_structure=login+String,unused+String,uid+UInt16,shell+String"
        )
        lines = b"a\tx\t1\t/bin/sh\nb\tx\t2\t/bin/sh\nc\tx\t3\t/bin/false\n"
        assert curl(url, "-F", "passwd=@-;filename=passwd", given=lines) == "/bin/sh\t2\n/bin/false\t1\n"
