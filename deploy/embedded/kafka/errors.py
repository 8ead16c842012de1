"""What can go wrong with the embedded broker's jars. Each message says what to do."""

from deploy.embedded.errors import EmbeddedServerError


class JarsUnavailableError(EmbeddedServerError):
    """Jars are missing in the cache folder and could not be fetched."""

    retriable = True


class JarRefusedError(EmbeddedServerError):
    """A jar is not, byte for byte, the one that the lock file names."""
