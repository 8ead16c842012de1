"""What an error of ClickHouse means for the one who was told it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum

import aiohttp
from clickhouse_connect.driver.exceptions import ClickHouseError, Error, ProgrammingError

from sinks.errors import PoisonError, SchemaError, TooLargeError, UnreachableError
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


MEMORY_LIMIT_EXCEEDED = 241

CODES: Mapping[int, Failure] = {
    # The server is away, busy, full or being repaired. Codes that are not listed count as these, too.
    3: Failure.RETRY,  # UNEXPECTED_END_OF_FILE
    74: Failure.RETRY,  # CANNOT_READ_FROM_FILE_DESCRIPTOR
    75: Failure.RETRY,  # CANNOT_WRITE_TO_FILE_DESCRIPTOR
    76: Failure.RETRY,  # CANNOT_OPEN_FILE
    95: Failure.RETRY,  # CANNOT_READ_FROM_SOCKET
    96: Failure.RETRY,  # CANNOT_WRITE_TO_SOCKET
    159: Failure.RETRY,  # TIMEOUT_EXCEEDED
    164: Failure.RETRY,  # READONLY, as of a user while the database is being repaired
    173: Failure.RETRY,  # CANNOT_ALLOCATE_MEMORY
    198: Failure.RETRY,  # DNS_ERROR
    201: Failure.RETRY,  # QUOTA_EXCEEDED
    202: Failure.RETRY,  # TOO_MANY_SIMULTANEOUS_QUERIES
    203: Failure.RETRY,  # NO_FREE_CONNECTION
    204: Failure.RETRY,  # CANNOT_FSYNC
    209: Failure.RETRY,  # SOCKET_TIMEOUT
    210: Failure.RETRY,  # NETWORK_ERROR
    236: Failure.RETRY,  # ABORTED
    MEMORY_LIMIT_EXCEEDED: Failure.RETRY,  # of the server or the user; of the query see below
    242: Failure.RETRY,  # TABLE_IS_READ_ONLY
    243: Failure.RETRY,  # NOT_ENOUGH_SPACE
    252: Failure.RETRY,  # TOO_MANY_PARTS
    285: Failure.RETRY,  # TOO_FEW_LIVE_REPLICAS
    319: Failure.RETRY,  # UNKNOWN_STATUS_OF_INSERT
    373: Failure.RETRY,  # SESSION_IS_LOCKED
    394: Failure.RETRY,  # QUERY_WAS_CANCELLED
    425: Failure.RETRY,  # SYSTEM_ERROR
    439: Failure.RETRY,  # CANNOT_SCHEDULE_TASK
    999: Failure.RETRY,  # KEEPER_EXCEPTION
    # Less at a time would do.
    158: Failure.SPLIT,  # TOO_MANY_ROWS
    290: Failure.SPLIT,  # LIMIT_EXCEEDED
    307: Failure.SPLIT,  # TOO_MANY_BYTES
    396: Failure.SPLIT,  # TOO_MANY_ROWS_OR_BYTES
    # A row cannot be read or kept.
    6: Failure.POISON,  # CANNOT_PARSE_TEXT
    25: Failure.POISON,  # CANNOT_PARSE_ESCAPE_SEQUENCE
    26: Failure.POISON,  # CANNOT_PARSE_QUOTED_STRING
    27: Failure.POISON,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
    32: Failure.POISON,  # ATTEMPT_TO_READ_AFTER_EOF
    38: Failure.POISON,  # CANNOT_PARSE_DATE
    41: Failure.POISON,  # CANNOT_PARSE_DATETIME
    53: Failure.POISON,  # TYPE_MISMATCH
    69: Failure.POISON,  # ARGUMENT_OUT_OF_BOUND
    70: Failure.POISON,  # CANNOT_CONVERT_TYPE
    72: Failure.POISON,  # CANNOT_PARSE_NUMBER
    117: Failure.POISON,  # INCORRECT_DATA
    128: Failure.POISON,  # TOO_LARGE_ARRAY_SIZE
    130: Failure.POISON,  # CANNOT_READ_ARRAY_FROM_TEXT
    131: Failure.POISON,  # TOO_LARGE_STRING_SIZE
    248: Failure.POISON,  # INVALID_PARTITION_VALUE
    306: Failure.POISON,  # TOO_DEEP_RECURSION
    321: Failure.POISON,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349: Failure.POISON,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376: Failure.POISON,  # CANNOT_PARSE_UUID
    395: Failure.POISON,  # FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
    407: Failure.POISON,  # DECIMAL_OVERFLOW
    441: Failure.POISON,  # CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING
    467: Failure.POISON,  # CANNOT_PARSE_BOOL
    469: Failure.POISON,  # VIOLATED_CONSTRAINT
    # The tables are not there, or are others.
    8: Failure.SCHEMA,  # THERE_IS_NO_COLUMN
    16: Failure.SCHEMA,  # NO_SUCH_COLUMN_IN_TABLE
    47: Failure.SCHEMA,  # UNKNOWN_IDENTIFIER
    60: Failure.SCHEMA,  # UNKNOWN_TABLE
    81: Failure.SCHEMA,  # UNKNOWN_DATABASE
    # The server does not know this user, or does not let it.
    115: Failure.FATAL,  # UNKNOWN_SETTING
    192: Failure.FATAL,  # UNKNOWN_USER
    193: Failure.FATAL,  # WRONG_PASSWORD
    194: Failure.FATAL,  # REQUIRED_PASSWORD
    195: Failure.FATAL,  # IP_ADDRESS_NOT_ALLOWED
    291: Failure.FATAL,  # DATABASE_ACCESS_DENIED
    452: Failure.FATAL,  # SETTING_CONSTRAINT_VIOLATION
    472: Failure.FATAL,  # READONLY_SETTING
    497: Failure.FATAL,  # ACCESS_DENIED
    516: Failure.FATAL,  # AUTHENTICATION_FAILED
}
"""By https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp"""

_OF_THE_QUERY = re.compile(r"query memory limit|memory limit \(for query\)", re.IGNORECASE)
"""Whose memory limit it was stands in the text alone; the second form is that of versions before 24.11."""


_TOO_LONG = "HTTP status 413"
"""As the driver tells of a proxy before ClickHouse that does not let a body of this size pass."""


NO_TLS = " ssl:default"
"""What aiohttp puts behind an address that cannot be reached, whether TLS is on or off."""


UNKNOWN_ACCOUNT = frozenset({192, 193, 194, 516})
"""Codes that are told for a wrong or a missing name or password."""


def _code(error: Exception) -> int | None:
    return error.code if isinstance(error, Error) else None


def classify(error: Exception) -> Failure:
    """Sort an error by ClickHouse's code; what has none, or one that is not listed, may heal."""
    code = _code(error)
    if code == MEMORY_LIMIT_EXCEEDED and _OF_THE_QUERY.search(str(error)):
        return Failure.SPLIT
    if code is None and _TOO_LONG in str(error):
        return Failure.SPLIT
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
            check = "; check clickhouse.host and clickhouse.port and whether it runs" if _code(error) is None else ""
            return UnreachableError(f"{address} does not answer as it should: {said}{check}")
        case Failure.SCHEMA:
            return SchemaError(
                f"the database {connection.database} does not have this version's tables: run `todoke migrate`"
                f" ({address} says: {said})"
            )
        case Failure.FATAL if _code(error) in UNKNOWN_ACCOUNT:
            return account_unknown(connection, said)
        case Failure.FATAL:
            return ConfigurationError(
                f"{address} does not let the user {connection.user} do what is needed: check clickhouse.user,"
                f" its password and its rights ({said})"
            )
        case Failure.SPLIT:
            return TooLargeError(
                f"{address} has limits that are too small for a block: raise max_memory_usage, or the limit it names,"
                f" for the user {connection.user}, then start the sink again ({said})",
                said=said,
            )
        case Failure.POISON:
            return PoisonError(f"{address} cannot read a row; nothing is skipped: {said}", said=said)


def account_unknown(connection: ClickHouseConnection, said: str) -> ConfigurationError:
    """Make the error for a name or a password that is wrong or missing: mostly set for another command alone."""
    return ConfigurationError(
        f"ClickHouse at {connection.host}:{connection.port} does not know the user {connection.user} with this"
        " password: set clickhouse.user and clickhouse.password for this command, too, in the configuration or as"
        f" TODOKE_CLICKHOUSE__USER and TODOKE_CLICKHOUSE__PASSWORD ({said})"
    )


@contextmanager
def translated(connection: ClickHouseConnection) -> Iterator[None]:
    """Raise what `translate` makes of an error in the body."""
    try:
        yield
    except (ClickHouseError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise translate(error, connection) from error


def _first_line(error: Exception) -> str:
    text = str(error).replace(NO_TLS, "").strip() or type(error).__name__
    return text.splitlines()[0][:500]
