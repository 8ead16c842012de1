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
    GAVE_UP = 4
    """``todoke up``: a part died too often, and everything was stopped; its last words say why."""
    CUT_OFF = 5
    """It did not end within its deadline; nothing is lost, the next start does the rest again."""
    INTERRUPTED = 130
    """Ctrl-C, for a command that does one thing: 128 and the number of SIGINT, as shells have it."""


class GaveUpError(TodokeError):
    """A part died so often that starting it again is of no use."""


def exit_code(error: TodokeError) -> Exit:
    """Choose the exit code that says what kind of error ended a command."""
    if isinstance(error, ConfigurationError):
        return Exit.MISUSED
    if isinstance(error, GaveUpError):
        return Exit.GAVE_UP
    return Exit.UNREACHABLE if error.retriable else Exit.FAILED
