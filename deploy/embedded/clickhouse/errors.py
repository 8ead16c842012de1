"""What can go wrong around the embedded ClickHouse, and ClickHouse's own exceptions as one type."""

import re

from streams.contracts.errors import ConfigurationError, TodokeError


class EmbeddedClickHouseError(TodokeError):
    """The embedded ClickHouse cannot run."""


class PortInUseError(EmbeddedClickHouseError, ConfigurationError):
    """Another program listens on the port that was asked for.

    Attributes:
        port: that port.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"Port {port} on {host} is in use by another program, so ClickHouse cannot listen there. "
            "Stop that program, or choose another port (0 picks a free one)."
        )
        self.port = port


class FolderInUseError(EmbeddedClickHouseError, ConfigurationError):
    """Another process serves the data folder.

    Attributes:
        pid: that process, where it is known.
    """

    def __init__(self, folder: object, pid: int | None) -> None:
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"The ClickHouse data folder {folder} is in use by {who}. "
            "Stop the todoke that runs there, or choose another data folder."
        )
        self.pid = pid


class FolderVersionError(EmbeddedClickHouseError, ConfigurationError):
    """The data folder was written by a newer engine, by none at all, or cannot be used."""


class ServerFailedError(EmbeddedClickHouseError):
    """The server ended, or did not answer in time; the message ends with the last lines of its log."""

    retriable = True


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
