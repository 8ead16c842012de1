"""The parts of a table by their names, which tell what they were merged from."""

import os
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path

_NAME = re.compile(r"([^_]+)_(\d+)_(\d+)_\d+(?:_\d+)?")


class Parts:
    """The inserts that are in the parts of a table: of each partition, by numbers that the engine gives them."""

    def __init__(self, names: Iterable[str]) -> None:
        """Read the names of parts; others are passed over.

        Args:
            names: a part is named ``partition_first_last_level``, by the inserts that it was merged from.
        """
        spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for name in names:
            if (part := _NAME.fullmatch(name)) is not None:
                spans[part[1]].append((int(part[2]), int(part[3])))
        for found in spans.values():
            found.sort()
        self._begins = {partition: [first for first, _ in found] for partition, found in spans.items()}
        self._ends = {
            partition: list(accumulate((last for _, last in found), max)) for partition, found in spans.items()
        }

    def hold(self, name: str) -> bool:
        """Tell whether the part of one insert is there, or one that it was merged into."""
        part = _NAME.fullmatch(name)
        if part is None or part[2] != part[3]:
            return True  # of a table that was made in the old syntax, MergeTree(date, key, 8192)
        partition, number = part[1], int(part[2])
        before = bisect_right(self._begins.get(partition, ()), number)
        return before > 0 and self._ends[partition][before - 1] >= number


def parts_of(table: Path) -> Parts:
    """Give the parts that are in a table's folder."""
    with os.scandir(table) as found:
        return Parts(entry.name for entry in found if entry.is_dir())
