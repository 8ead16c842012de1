"""Whether a sink waits for its destination, which may take any time: see `sinks.watchdog`."""

import contextlib
from collections.abc import Iterator

from sinks.errors import UnreachableError


class Destination:
    """What is known of the destination: a sink that waits for it does not stand still."""

    def __init__(self) -> None:
        self._asked = 0
        self._failed = False

    @property
    def is_waited_for(self) -> bool:
        """Tell whether it is being asked, or its last answer was that it cannot now."""
        return self._asked > 0 or self._failed

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Ask it something, as often as it takes."""
        self._asked += 1
        try:
            yield
            self._failed = False
        except UnreachableError:
            self._failed = True
            raise
        finally:
            self._asked -= 1

    def lacks(self) -> None:
        """Note that it answers, but cannot go on before somebody has mended it."""
        self._failed = True

    def forget(self) -> None:
        """Forget what its last answer was: nobody asks again."""
        self._failed = False
