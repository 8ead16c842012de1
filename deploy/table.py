"""Tables for the terminal, which know that East Asian characters are two columns wide."""

import unicodedata
from collections.abc import Collection, Iterable, Sequence

GAP = "  "
NARROWEST = 10
"""Columns that a cell keeps, however narrow the terminal is."""


def width(text: str) -> int:
    """Tell how many columns a text takes (Unicode Standard Annex 11)."""
    return sum(_columns(character) for character in text)


def cut(text: str, limit: int) -> str:
    """Shorten a text to so many columns, with an ellipsis where something is missing."""
    if width(text) <= limit:
        return text
    kept, used = [], 0
    for character in text:
        used += _columns(character)
        if used > limit - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    limit: int = 60,
    fit: int | None = None,
    elastic: Collection[str] = (),
) -> str:
    """Lay out rows in columns.

    Args:
        head: the columns' names.
        rows: texts, one for each column.
        limit: columns of the terminal that one cell may take.
        fit: columns of the terminal that there are: the widest cells are cut until a line fits.
        elastic: names of the columns that are cut first.
    """
    lines = [list(head), *([_one_line(cell) for cell in row] for row in rows)]
    widths = [min(limit, max(width(line[at]) for line in lines)) for at in range(len(head))]
    narrowest = [max(NARROWEST, width(name)) for name in head]
    while fit is not None and sum(widths) + len(GAP) * (len(widths) - 1) > fit:
        shrinkable = [at for at, wide in enumerate(widths) if wide > narrowest[at]]
        if not shrinkable:
            break
        first = [at for at in shrinkable if head[at] in elastic] or shrinkable
        widths[max(first, key=widths.__getitem__)] -= 1
    lines.insert(1, ["─" * wide for wide in widths])
    return "\n".join(_line(line, widths) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(_padded(cut(cell, wide), wide) for cell, wide in zip(cells, widths, strict=True)).rstrip()


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _padded(cell: str, wide: int) -> str:
    return cell + " " * (wide - width(cell))


def _one_line(cell: str) -> str:
    return "".join(character if character.isprintable() else " " for character in cell)


def counted(number: int, one: str, many: str) -> str:
    """Say how many there are of something: ``1 loss``, ``2 losses``."""
    return f"{number} {one if number == 1 else many}"
