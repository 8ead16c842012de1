"""The root of todoke's errors. An error carries data for the one who handles it, and its message says what to do."""


class TodokeError(Exception):
    """Anything todoke itself raises.

    Attributes:
        retriable: the same action may succeed later without anybody changing anything.
    """

    retriable = False


class ConfigurationError(TodokeError):
    """A setting that cannot be worked with; the message names the key, the value and what is allowed."""


class FormError(TodokeError):
    """A record on an internal topic that this version cannot read."""


class LaterFormError(FormError):
    """A later version of todoke wrote it, which can read it."""


class PublishError(TodokeError):
    """Kafka did not acknowledge in time or refused; what was sent may or may not be in the log."""

    retriable = True


class StalledError(TodokeError):
    """Something stands still although it could go on; what ends by this is to be started afresh."""

    retriable = True
