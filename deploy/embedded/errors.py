"""What can go wrong around an embedded server. Each message says what to do."""

from streams.contracts.errors import ConfigurationError, TodokeError


class EmbeddedServerError(TodokeError):
    """An embedded server cannot run."""


class PortInUseError(EmbeddedServerError, ConfigurationError):
    """Another program listens on the port that was asked for.

    Attributes:
        port: that port.
    """

    def __init__(self, server: str, host: str, port: int) -> None:
        super().__init__(
            f"Port {port} on {host} is in use by another program, so {server} cannot listen there. "
            "Stop that program, or choose another port (0 picks a free one)."
        )
        self.port = port


class FolderInUseError(EmbeddedServerError, ConfigurationError):
    """Another process runs a server on the data folder.

    Attributes:
        pid: that process, where it is known.
    """

    def __init__(self, server: str, folder: object, pid: int | None) -> None:
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"The {server} data folder {folder} is in use by {who}. "
            "Stop the todoke that runs there, or choose another data folder."
        )
        self.pid = pid


class FolderVersionError(EmbeddedServerError, ConfigurationError):
    """The data folder was written by a version that this one cannot work with, by none at all, or cannot be used."""


class DiskFullError(EmbeddedServerError):
    """The disk of the data folder has too little room for the server to be started safely."""

    retriable = True

    def __init__(self, server: str, folder: object, free: int, needed: int) -> None:
        has, wants = f"{free / 2**20:.0f} MiB", f"{needed / 2**20:.0f} MiB"
        super().__init__(
            f"The disk of the {server} data folder {folder} has {has} free. {server} is not started with less than"
            f" {wants}: it could damage its data while it reads them. Make room, then start again."
        )


class ServerFailedError(EmbeddedServerError):
    """The server ended, or did not answer in time; the message ends with the last lines of its log."""

    retriable = True
