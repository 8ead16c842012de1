"""What an error of ClickHouse means for the one who was told it."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import aiohttp
from clickhouse_connect.driver.exceptions import ClickHouseError, Error, ProgrammingError

from sinks.errors import RefusedError, SchemaError, UnreachableError
from sinks.settings import ClickHouseConnection
from streams.contracts.errors import ConfigurationError, TodokeError


class Failure(Enum):
    """What to do about an error."""

    RETRY = "retry"
    """The same again, later: the server is away, busy, full or being repaired."""

    SPLIT = "split"
    """The block is too large for the server's limits."""

    POISON = "poison"
    """A row cannot be read or stored."""

    SCHEMA = "schema"
    """The tables are not there, or are others."""

    FATAL = "fatal"
    """The server does not know this user, or does not let it."""


# https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
CODES: dict[int, Failure] = {
    # CANNOT_PARSE_TEXT, CANNOT_PARSE_ESCAPE_SEQUENCE, CANNOT_PARSE_QUOTED_STRING, CANNOT_PARSE_INPUT_ASSERTION_FAILED,
    # ATTEMPT_TO_READ_AFTER_EOF, CANNOT_PARSE_DATE, CANNOT_PARSE_DATETIME, TYPE_MISMATCH, ARGUMENT_OUT_OF_BOUND,
    # CANNOT_CONVERT_TYPE, CANNOT_PARSE_NUMBER, INCORRECT_DATA, CANNOT_READ_ARRAY_FROM_TEXT, TOO_LARGE_STRING_SIZE,
    # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE, CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN, DECIMAL_OVERFLOW
    **dict.fromkeys((6, 25, 26, 27, 32, 38, 41, 53, 69, 70, 72, 117, 130, 131, 321, 349, 407), Failure.POISON),
    # TOO_MANY_ROWS, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES
    **dict.fromkeys((158, 307, 396), Failure.SPLIT),
    # NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_IDENTIFIER, UNKNOWN_TABLE, UNKNOWN_DATABASE, THERE_IS_NO_COLUMN
    **dict.fromkeys((8, 16, 47, 60, 81), Failure.SCHEMA),
    # UNKNOWN_SETTING, READONLY, UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, ACCESS_DENIED, AUTHENTICATION_FAILED
    **dict.fromkeys((115, 164, 192, 193, 194, 497, 516), Failure.FATAL),
}


def classify(error: Exception) -> Failure:
    """Sort an error by ClickHouse's code; what has none, or one that is not listed, may heal."""
    code = error.code if isinstance(error, Error) else None
    if code is not None:
        return CODES.get(code, Failure.RETRY)
    # The driver itself refuses, e.g. a setting that this user may not change.
    return Failure.FATAL if isinstance(error, ProgrammingError) else Failure.RETRY


def translate(error: Exception, connection: ClickHouseConnection) -> TodokeError:
    """Make the error that says what to do of one that ClickHouse, its driver or the network raised."""
    address = f"ClickHouse at {connection.host}:{connection.port}"
    said = _first_line(error)
    match classify(error):
        case Failure.RETRY:
            return UnreachableError(f"{address} does not answer as it should: {said}")
        case Failure.SCHEMA:
            return SchemaError(
                f"the database {connection.database} does not have this version's tables: run `todoke migrate`"
                f" ({address} says: {said})"
            )
        case Failure.FATAL:
            return ConfigurationError(
                f"{address} does not let the user {connection.user} do what is needed: check clickhouse.user,"
                f" its password and its rights ({said})"
            )
        case Failure.SPLIT:
            return RefusedError(
                f"{address} has limits that are too small for a block: raise max_rows_to_read and its relatives for the"
                f" user {connection.user}, then start the sink again ({said})"
            )
        case Failure.POISON:
            return RefusedError(f"{address} cannot read a row; nothing is skipped: {said}")


@contextmanager
def translated(connection: ClickHouseConnection) -> Iterator[None]:
    """Raise what `translate` makes of an error in the body."""
    try:
        yield
    except (ClickHouseError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise translate(error, connection) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:500]
