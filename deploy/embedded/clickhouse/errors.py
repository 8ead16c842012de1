"""ClickHouse's own exceptions as one type."""

import re


class ClickHouseError(Exception):
    """An exception as ClickHouse's clients know it, with a code of ClickHouse's own list.

    Attributes:
        code: the number, https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
        message: the whole text, ``Code: 62. DB::Exception: ... (SYNTAX_ERROR)``.
    """

    def __init__(self, code: int, name: str, reason: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {reason} ({name})")
        self.code = code
        self.message = str(self)

    @classmethod
    def from_engine(cls, text: str) -> "ClickHouseError":
        """Read what the engine says of a failed query."""
        found = _CODE.match(text)
        error = cls(int(found[1]) if found else _UNKNOWN_EXCEPTION, "", "")
        error.message = text if found else f"Code: {_UNKNOWN_EXCEPTION}. DB::Exception: {text} (UNKNOWN_EXCEPTION)"
        error.args = (error.message,)
        return error


_CODE = re.compile(r"Code: (\d+)\.")
_UNKNOWN_EXCEPTION = 1002
