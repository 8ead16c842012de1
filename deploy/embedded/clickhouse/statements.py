"""What the server must know of a statement before the engine sees it: where its data begins, where its result goes.

The engine parses SQL itself; this reads tokens only, as ClickHouse's lexer cuts them
(https://clickhouse.com/docs/sql-reference/syntax), and looks for a few keywords outside all brackets.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise

from deploy.embedded.clickhouse.errors import ClickHouseError


@dataclass(frozen=True, kw_only=True, slots=True)
class Insert:
    """An INSERT whose rows follow the statement."""

    text: bytes
    """The statement up to its SETTINGS, or where there are none up to FORMAT or VALUES."""

    settings: bytes = b""
    """The clause SETTINGS, which stands before FORMAT or VALUES, or nothing."""

    format: str
    """The format of the rows."""

    rows: bytes
    """The rows' beginning, as far as it was read."""

    def reading(self, file: str) -> bytes:
        """Write the statement that takes the rows from a file."""
        # On lines of their own, for what stands before may end in a comment.
        infile = f"\n{self._infile(file)}\n".encode()
        return self.text + infile + self.settings + f"\nFORMAT {self.format}".encode()

    def without(self, file: str, error: str) -> str:
        """Leave out of the engine's words which file it has read."""
        return re.sub(rf"\s+{re.escape(self._infile(file))}\s*", " ", error)

    @staticmethod
    def _infile(file: str) -> str:
        return f"FROM INFILE {quoted(file)} COMPRESSION 'none'"


@dataclass(frozen=True, kw_only=True, slots=True)
class InsertSelect:
    """An INSERT that selects from ``input('structure')``, whose rows follow the statement."""

    before: bytes
    """The statement up to the function's name."""

    structure: bytes
    """The function's argument, a literal."""

    after: bytes
    """What follows the function, up to FORMAT."""

    format: str
    """The format of the rows."""

    rows: bytes
    """The rows' beginning, as far as it was read."""

    def reading(self, file: str) -> bytes:
        """Write the statement that takes the rows from a file.

        ``input()`` itself would get none: chDB 4.4 inserts nothing then, and says nothing.
        """
        # A subquery has no columns that tell of the file, like _path.
        opens, closes = (piece.encode() for piece in self._around(file))
        return self.before + opens + self.structure + closes + self.after

    def without(self, file: str, error: str) -> str:
        """Leave out of the engine's words which file it has read."""
        opens, closes = self._around(file)
        return error.replace(opens, "input(").replace(closes, ")")

    def _around(self, file: str) -> tuple[str, str]:
        """Give what stands before and behind the structure."""
        return f"(SELECT * FROM file({quoted(file)}, {quoted(self.format)}, ", ", 'none'))"  # noqa: S608 - quoted


@dataclass(frozen=True, kw_only=True, slots=True)
class Select:
    """A query whose result may be of any size."""

    before: bytes
    """The statement up to its FORMAT."""

    after: bytes
    """What stands behind the FORMAT: settings."""

    format: str | None
    """The format that the statement names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """A KILL QUERY; its pieces are text and string literals by turns."""

    pieces: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Other:
    """Any other statement: its result is small."""

    text: bytes
    keyword: str
    """The first word, in upper case."""

    format: str | None
    """The format that the statement names."""


WithRows = Insert | InsertSelect
Statement = WithRows | Select | Kill | Other


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    word: bytes  # in upper case; empty unless the token is a bare word
    start: int
    end: int
    depth: int


_TOKEN = re.compile(
    rb"""
    (?P<skip> \s+ | --[^\n]* | \#[\ !][^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<text> '(?:[^'\\]|\\.|'')*'? | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<name> `(?:[^`\\]|\\.|``)*`? | "(?:[^"\\]|\\.|"")*"? )
  | (?P<word> [A-Za-z_][A-Za-z0-9_$]* )
  | (?P<open> [(\[{] )
  | (?P<close> [)\]}] )
  | (?P<end> ; )
  | (?P<other> \d\w* | . )
    """,
    re.DOTALL | re.VERBOSE,
)
_SELECTING = frozenset({b"SELECT", b"WITH", b"FROM"})


def _tokens(text: bytes) -> Iterator[_Token]:
    depth = 0
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "other"
        if kind == "skip":
            continue
        if kind == "tag":  # a group within "text"
            kind = "text"
        if kind == "close":
            depth = max(0, depth - 1)
        yield _Token(kind, found[0].upper() if kind == "word" else b"", found.start(), found.end(), depth)
        if kind == "open":
            depth += 1


def read_statement(text: bytes) -> Statement:
    """Tell what kind of statement a text begins with.

    Args:
        text: the statement, with or without the beginning of the rows that follow it. All of an INSERT up to its rows
            must be in it.

    Raises:
        ClickHouseError: there is no statement, or more than one, or one that makes sense only at a client.
    """
    tokens = _tokens(text)
    first = next(
        (token for token in tokens if not (token.kind == "open" and text[token.start : token.end] == b"(")), None
    )
    if first is None or first.kind == "end":
        raise ClickHouseError(62, "SYNTAX_ERROR", "Syntax error: Empty query")
    if first.word == b"INSERT":
        return _read_insert(text, tokens)
    rest = _only_statement(list(_tokens(text)))
    end = rest[-1].end
    if first.word == b"KILL":
        literals = [token for token in rest if token.kind == "text"]
        cuts = [0, *(cut for token in literals for cut in (token.start, token.end)), end]
        return Kill(pieces=tuple(text[a:b] for a, b in pairwise(cuts)))
    at = _format_at(rest)
    name = None if at is None else _name(text, rest[at + 1])
    if first.word in _SELECTING:
        if at is None:
            return Select(before=text[:end], after=b"", format=None)
        return Select(before=text[: rest[at].start], after=text[rest[at + 1].end : end], format=name)
    return Other(text=text[:end], keyword=first.word.decode(), format=name)


def _only_statement(tokens: list[_Token]) -> list[_Token]:
    """Cut what ends the statement."""
    ends = [number for number, token in enumerate(tokens) if token.kind == "end"]
    if ends and any(token.kind != "end" for token in tokens[ends[0] :]):
        raise ClickHouseError(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
    tokens = tokens[: ends[0]] if ends else tokens
    for into, outfile in pairwise(tokens):
        if into.word == b"INTO" and outfile.word == b"OUTFILE":
            raise ClickHouseError(358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed")
    return tokens


def _format_at(tokens: list[_Token]) -> int | None:
    """Find the FORMAT that ends a statement; only settings may stand behind it."""
    for number in range(len(tokens) - 2, 0, -1):
        token = tokens[number]
        if token.word == b"FORMAT" and token.depth == 0 and tokens[number + 1].kind in {"word", "name"}:
            following = tokens[number + 2] if number + 2 < len(tokens) else None
            return number if following is None or following.word == b"SETTINGS" else None
    return None


def _name(text: bytes, token: _Token) -> str:
    return text[token.start : token.end].strip(b'`"').decode("utf-8", "replace")


def _read_insert(text: bytes, tokens: Iterator[_Token]) -> Statement:
    """Read an INSERT up to where its rows begin, if rows follow it."""
    _skip_name(tokens)
    read: list[_Token] = []
    for token in tokens:
        read.append(token)
        if token.depth or token.kind != "word" or text[token.start - 1 : token.start] == b".":
            continue
        if token.word == b"VALUES":
            before, settings = _parted(text, read)
            return Insert(text=before, settings=settings, format="Values", rows=text[token.end :])
        if token.word == b"FORMAT":
            name = next(tokens, None)
            if name is None:
                break
            before, settings = _parted(text, read)
            return Insert(text=before, settings=settings, format=_name(text, name), rows=_rows(text, name.end))
        if token.word == b"FROM" and not (read[:-1] and read[-2].word == b"DISTINCT"):
            following = list(islice(tokens, 1))
            if following and following[0].word == b"INFILE":
                raise ClickHouseError(78, "UNKNOWN_TYPE_OF_QUERY", "Query has infile and was sent directly to server")
            tokens = chain(following, tokens)
        if token.word in _SELECTING:
            return _read_insert_select(text, token, tokens)
    return Other(text=text, keyword="INSERT", format=None)


def _skip_name(tokens: Iterator[_Token]) -> None:
    """Read up to the name of an INSERT's table, which may be any word."""
    for token in tokens:
        if token.kind in {"word", "name", "open"} and token.word not in {b"INTO", b"TABLE", b"FUNCTION"}:
            return


def _parted(text: bytes, read: list[_Token]) -> tuple[bytes, bytes]:
    """Part what stands between an INSERT's table and its rows' format, the last token, into statement and settings."""
    end = read[-1].start
    for token in read:
        if token.word == b"SETTINGS" and not token.depth and text[token.start - 1 : token.start] != b".":
            return text[: token.start], text[token.start : end]
    return text[:end], b""


def _read_insert_select(text: bytes, first: _Token, tokens: Iterator[_Token]) -> Statement:
    """Read an INSERT from its SELECT on; one from ``input()`` only up to where its rows begin."""
    read = [first]
    function: int | None = None
    for token in tokens:
        read.append(token)
        if function is None and _is_input(read[-4:]):
            function = len(read) - 4
        elif function is not None and token.word == b"FORMAT" and token.depth == 0:
            if (name := next(tokens, None)) is None:
                break
            called, _, literal, closed = read[function : function + 4]
            return InsertSelect(
                before=text[: called.start],
                structure=text[literal.start : literal.end],
                after=text[closed.end : token.start],
                format=_name(text, name),
                rows=_rows(text, name.end),
            )
    if function is not None:
        raise ClickHouseError(73, "UNKNOWN_FORMAT", "The query reads from input() and names no FORMAT for its rows")
    return Other(text=text[: _only_statement(read)[-1].end], keyword="INSERT", format=None)


_WITH_A_LITERAL = ["open", "text", "close"]


def _is_input(tokens: list[_Token]) -> bool:
    """Tell whether four tokens are ``input('structure')``; fewer are not."""
    return tokens[0].word == b"INPUT" and [token.kind for token in tokens[1:]] == _WITH_A_LITERAL


def takes_rows(text: bytes) -> bool:
    """Tell whether a statement that is no `InsertSelect` uses ``input()`` all the same, written in another way."""
    tokens = list(_tokens(text))
    return any(
        before.word in {b"FROM", b"JOIN"} and _name(text, called).upper() == "INPUT" and following.kind == "open"
        for before, called, following in zip(tokens, tokens[1:], tokens[2:], strict=False)
    )


def _rows(text: bytes, end: int) -> bytes:
    """Give the rows behind a format's name: what follows blanks and one line break."""
    while text[end : end + 1] in {b" ", b"\t", b"\f"}:
        end += 1
    for white in (b"\r", b"\n"):
        if text[end : end + 1] == white:
            end += 1
    return text[end:]


def quoted(value: str) -> str:
    """Write a string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def unquoted(literal: bytes) -> str:
    """Read a simple string literal."""
    return re.sub(rb"\\(.)|''", lambda found: found[1] or b"'", literal[1:-1]).decode("utf-8", "replace")
