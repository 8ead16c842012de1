"""Requests as multipart/form-data: parameters as fields, temporary tables as files.

https://clickhouse.com/docs/engines/table-engines/special/external-data
"""

import re
from collections.abc import Mapping

from aiohttp import BodyPartReader, web

from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.run import ExternalTable

_NAME = re.compile(r"[A-Za-z_]\w*")


async def read_form(request: web.Request, given: Mapping[str, str]) -> tuple[dict[str, str], list[ExternalTable]]:
    """Read a form: its fields, and its files as tables.

    Args:
        request: whose body it is.
        given: the URL's parameters, which describe the tables.

    Raises:
        ClickHouseError: a table is not described, or the form cannot be read.
    """
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise ClickHouseError(36, "BAD_ARGUMENTS", "A part of the form has no name")
            if part.filename is None:
                fields[part.name] = await part.text(encoding="utf-8")
            else:
                files[part.name] = bytes(await part.read(decode=True))
    except ValueError as error:
        raise ClickHouseError(36, "BAD_ARGUMENTS", f"The form cannot be read: {error}") from error
    described = {**given, **fields}
    return fields, [_table(name, rows, described) for name, rows in files.items()]


def _table(name: str, rows: bytes, described: Mapping[str, str]) -> ExternalTable:
    if not _NAME.fullmatch(name):
        raise ClickHouseError(36, "BAD_ARGUMENTS", f"'{name}' cannot be the name of an external table")
    structure = described.get(f"{name}_structure")
    if structure is None:
        types = described.get(f"{name}_types")
        if types is None:
            raise ClickHouseError(
                36, "BAD_ARGUMENTS", f"The external table {name} has neither {name}_structure nor {name}_types"
            )
        structure = ", ".join(f"_{number} {each}" for number, each in enumerate(_split(types), 1))
    return ExternalTable(
        name=name, structure=structure, format=described.get(f"{name}_format", "TabSeparated"), rows=rows
    )


def _split(types: str) -> list[str]:
    """Split at commas outside of brackets."""
    pieces, depth = [""], 0
    for letter in types:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return pieces
