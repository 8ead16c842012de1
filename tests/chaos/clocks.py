"""Clocks that can be set: of single processes, and only where libfaketime is found (Debian: ``libfaketime``).

Only what tells the time of day is false; what measures how long something takes is not, as with a clock that somebody
sets. Kafka's Java has an environment of its own, and so keeps its clock. So do workers: their threads wait for each
other in a way that the library delays.
"""

from pathlib import Path

LIBRARY = "faketime/libfaketimeMT.so.1"
SHARED = Path("/dev/shm")  # noqa: S108 - the library's choice
FOLDERS = ("/usr/lib/*", "/usr/lib64", "/usr/lib", "/usr/local/lib")


class Clock:
    """The clock of a process."""

    def __init__(self, file: Path, library: Path) -> None:
        """Describe it; it is right until it is set.

        Args:
            file: where the library looks for how wrong it is to be.
            library: the library.
        """
        self._file = file
        self._library = library
        self.set(0.0)

    def set(self, hours: float) -> None:
        """Have it go ahead by some hours, or be behind by so many if negative; 0 sets it right."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{hours * 3600:+.0f}\n")
        new.replace(self._file)

    @property
    def env(self) -> dict[str, str]:
        """Give the variables that a process is to be started with."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


def sweep(pid: int) -> None:
    """Remove what the library of a killed process leaves in shared memory."""
    for left in SHARED.glob(f"*faketime_*_{pid}"):
        left.unlink(missing_ok=True)


def library() -> Path | None:
    """Find the library; ``None`` where there is none."""
    found = (path for folder in FOLDERS for path in sorted(Path("/").glob(f"{folder[1:]}/{LIBRARY}")))
    return next(found, None)
