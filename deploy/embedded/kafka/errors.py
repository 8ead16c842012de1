"""What can go wrong around the embedded broker. Each message says what to do."""

from streams.contracts.errors import ConfigurationError, TodokeError


class EmbeddedKafkaError(TodokeError):
    """The embedded broker cannot run."""


class JarsUnavailableError(EmbeddedKafkaError):
    """Jars are missing in the cache folder and could not be fetched."""

    retriable = True


class JarRefusedError(EmbeddedKafkaError):
    """A jar is not, byte for byte, the one that the lock file names."""


class PortInUseError(EmbeddedKafkaError, ConfigurationError):
    """Another program listens on the port that was asked for.

    Attributes:
        port: that port.
    """

    def __init__(self, port: int) -> None:
        super().__init__(
            f"Port {port} on 127.0.0.1 is in use by another program, so Kafka cannot listen there. "
            "Stop that program, or choose another port (0 picks a free one)."
        )
        self.port = port


class FolderInUseError(EmbeddedKafkaError, ConfigurationError):
    """Another process runs a broker on the data folder.

    Attributes:
        pid: that process, where it is known.
    """

    def __init__(self, folder: object, pid: int | None) -> None:
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"The Kafka data folder {folder} is in use by {who}. "
            "Stop the todoke that runs there, or choose another data folder."
        )
        self.pid = pid


class FolderVersionError(EmbeddedKafkaError, ConfigurationError):
    """The data folder was not written by this version of Kafka, or not by todoke at all."""


class BrokerFailedError(EmbeddedKafkaError):
    """The broker ended, or did not answer in time; the message ends with the last lines of its log."""

    retriable = True
