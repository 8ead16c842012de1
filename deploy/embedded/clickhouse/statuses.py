"""ClickHouse's error codes as HTTP statuses, as its HTTP server maps them (exceptionCodeToHTTPStatus.cpp)."""

_CODES_BY_STATUS = {
    # CANNOT_PARSE_*, BAD_ARGUMENTS, SYNTAX_ERROR, INCORRECT_DATA, TYPE_MISMATCH, ILLEGAL_COLUMN and the like
    400: (6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676),
    401: (194,),  # REQUIRED_PASSWORD
    403: (192, 193, 497, 512, 516),  # UNKNOWN_USER, WRONG_PASSWORD, ACCESS_DENIED, AUTHENTICATION_FAILED
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),  # UNKNOWN_*
    408: (159,),  # TIMEOUT_EXCEEDED
    411: (381,),  # HTTP_LENGTH_REQUIRED
    413: (229,),  # QUERY_IS_TOO_LARGE
    415: (779,),  # UNSUPPORTED_MEDIA_TYPE
    501: (48,),  # NOT_IMPLEMENTED
    503: (76, 209, 439),  # CANNOT_OPEN_FILE, SOCKET_TIMEOUT, CANNOT_SCHEDULE_TASK
}
_STATUS_BY_CODE = {code: status for status, codes in _CODES_BY_STATUS.items() for code in codes}


def status_of(code: int) -> int:
    """Give the HTTP status for an error code; 500 for all that have none of their own."""
    return _STATUS_BY_CODE.get(code, 500)
