"""Tables for the terminal, which know that East Asian characters are two columns wide."""

import unicodedata
from collections.abc import Iterable, Sequence


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


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, limit: int = 60) -> str:
    """Lay out rows in columns.

    Args:
        head: the columns' names.
        rows: texts, one for each column.
        limit: columns of the terminal that one cell may take.
    """
    cells = [[cut(_one_line(cell), limit) for cell in row] for row in rows]
    widths = [max(width(row[at]) for row in [list(head), *cells]) for at in range(len(head))]
    lines = [head, ["─" * wide for wide in widths], *cells]
    return "\n".join(
        "  ".join(_padded(cell, wide) for cell, wide in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _padded(cell: str, wide: int) -> str:
    return cell + " " * (wide - width(cell))


def _one_line(cell: str) -> str:
    return "".join(character if character.isprintable() else " " for character in cell)
