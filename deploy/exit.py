"""Exit codes of every command."""

from enum import IntEnum

from streams.contracts.errors import ConfigurationError, TodokeError


class Exit(IntEnum):
    """What a command tells the shell, or a role its supervisor."""

    OK = 0
    FAILED = 1
    """It could not be done; for ``todoke audit``: the books do not balance."""
    MISUSED = 2
    """Bad configuration or wrong use; trying again changes nothing."""
    UNREACHABLE = 3
    """A service does not answer; trying again later may help."""


def exit_code(error: TodokeError) -> Exit:
    """Choose the exit code that says what kind of error ended a command."""
    if isinstance(error, ConfigurationError):
        return Exit.MISUSED
    return Exit.UNREACHABLE if error.retriable else Exit.FAILED
