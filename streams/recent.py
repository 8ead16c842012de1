"""A dictionary that forgets what was not put into it for long, by a time that its user tells it."""

from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by key, each kept for a number of hours after it was last put, and for less than an hour more.

    The order of a dict is the order of putting, and a marker (the hour as a number, which no key is) stands before what
    was put in that hour; so keeping track costs nothing per value, and forgetting is done once an hour.
    """

    def __init__(self, hours: int) -> None:
        self._hours = hours
        self._hour: int | None = None
        self._entries: dict[str | int, Value | None] = {}
        self._markers = 0

    def __len__(self) -> int:
        return len(self._entries) - self._markers

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def get(self, key: str) -> Value | None:
        """Give the value, or ``None`` if there is none or it is forgotten."""
        return self._entries.get(key)

    def put(self, key: str, value: Value) -> None:
        """Remember a value, from now on for the whole time."""
        self._entries.pop(key, None)
        self._entries[key] = value

    def advance(self, hour: int) -> None:
        """Tell the hour that it is (any count of hours); an earlier one than the last changes nothing."""
        if self._hour is not None and hour <= self._hour:
            return
        self._hour = hour
        self._entries[hour] = None
        self._markers += 1
        self._forget(before=hour - self._hours)

    def _forget(self, before: int) -> None:
        expired: list[str | int] = []
        for key in self._entries:
            if isinstance(key, int):
                if key >= before:
                    break
                self._markers -= 1
            expired.append(key)
        for key in expired:
            del self._entries[key]
