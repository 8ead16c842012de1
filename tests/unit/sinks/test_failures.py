import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError, ProgrammingError

from sinks.clickhouse.failures import CODES, Failure, classify, translate, translated
from sinks.errors import PoisonError, SchemaError, TooLargeError, UnreachableError
from sinks.settings import ClickHouseConnection
from streams.contracts.errors import ConfigurationError, TodokeError

CONNECTION = ClickHouseConnection(host="db.example", port=8123, database="mail")


@pytest.mark.parametrize(
    ("error", "becomes", "says"),
    [
        (OperationalError("Network Error: refused"), UnreachableError, "refused"),
        (ConnectionResetError("reset"), UnreachableError, "reset"),
        (TimeoutError(), UnreachableError, "TimeoutError"),
        (DatabaseError("too many parts", code=252), UnreachableError, "too many parts"),
        (DatabaseError("(total) memory limit exceeded: would use 2 GiB", code=241), UnreachableError, "memory"),
        (DatabaseError("User memory limit exceeded: would use 2 GiB", code=241), UnreachableError, "memory"),
        (DatabaseError("Memory limit (total) exceeded: would use 2 GiB", code=241), UnreachableError, "limit"),
        (DatabaseError("Query memory limit exceeded: would use 2 GiB", code=241), TooLargeError, "max_memory_usage"),
        (DatabaseError("Memory limit (for query) exceeded", code=241), TooLargeError, "max_memory_usage"),
        (OperationalError("HTTP driver received HTTP status 413, server response: no"), TooLargeError, "413"),
        (OperationalError("HTTP driver received HTTP status 502, server response: no"), UnreachableError, "502"),
        (DatabaseError("readonly", code=164), UnreachableError, "readonly"),
        (DatabaseError("table is read only", code=242), UnreachableError, "read only"),
        (DatabaseError("no space", code=243), UnreachableError, "no space"),
        (DatabaseError("never seen", code=99_999), UnreachableError, "never seen"),
        (DatabaseError("no table", code=60), SchemaError, "todoke migrate"),
        (DatabaseError("no database", code=81), SchemaError, "todoke migrate"),
        (DatabaseError("no such user", code=516), ConfigurationError, "TODOKE_CLICKHOUSE__PASSWORD"),
        (DatabaseError("no grant", code=497), ConfigurationError, "its rights"),
        (ProgrammingError("Setting x is unknown or readonly"), ConfigurationError, "its rights"),
        (DatabaseError("cannot parse", code=27), PoisonError, "nothing is skipped"),
        (DatabaseError("constraint", code=469), PoisonError, "nothing is skipped"),
        (DatabaseError("too many rows", code=158), TooLargeError, "limits"),
    ],
)
def test_an_error_becomes_one_that_says_what_to_do(error: Exception, becomes: type[TodokeError], says: str) -> None:
    translation = translate(error, CONNECTION)

    assert type(translation) is becomes
    assert says in str(translation)
    assert "db.example:8123" in str(translation)


def test_a_server_that_is_away_is_told_with_its_settings_and_without_a_word_on_tls() -> None:
    away = OperationalError("Network Error: Cannot connect to host db.example:8123 ssl:default [no such name]")

    assert str(translate(away, CONNECTION)) == (
        "ClickHouse at db.example:8123 does not answer as it should: Network Error: Cannot connect to host"
        " db.example:8123 [no such name]; check clickhouse.host and clickhouse.port and whether it runs"
    )


def test_what_is_unknown_may_heal() -> None:
    assert classify(OperationalError("no code")) is Failure.RETRY
    assert classify(OperationalError("new code", code=max(CODES) + 1)) is Failure.RETRY


def test_the_cause_is_kept() -> None:
    cause = DatabaseError("gone", code=60)

    with pytest.raises(SchemaError) as raised, translated(CONNECTION):
        raise cause

    assert raised.value.__cause__ is cause


def test_a_message_of_many_lines_becomes_one() -> None:
    assert "second" not in str(translate(DatabaseError("first\nsecond"), CONNECTION))
