import re

import pytest

from sinks.clickhouse.migrations import Migration, SchemaState, migrations
from sinks.errors import SchemaError

AGAIN = re.compile(
    r"create (table|view|materialized view) if not exists \w+"
    r"|create or replace view \w+"
    r"|alter table \w+\s+(add (column|index) if not exists \w+|modify setting )"
)


def test_migrations_are_numbered_without_gaps() -> None:
    names = [migration.name for migration in migrations()]

    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert all(re.fullmatch(r"\d{4}_[a-z_]+", name) for name in names)


def test_every_statement_may_be_run_again() -> None:
    for migration in migrations():
        for statement in migration.statements:
            code = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
            assert AGAIN.match(code.strip()), code


def test_statements_end_with_a_semicolon_at_the_end_of_a_line() -> None:
    migration = Migration(name="0001_x", sql="-- a; comment\nselect 1;\n\nselect ';' as x;  \nselect 3;")

    assert list(migration.statements) == ["-- a; comment\nselect 1", "select ';' as x", "select 3"]


def test_the_checksum_is_that_of_the_text() -> None:
    assert Migration(name="a", sql="select 1;").checksum != Migration(name="a", sql="select 2;").checksum
    assert len(Migration(name="a", sql="").checksum) == 64


def state(**fields: list[str]) -> SchemaState:
    return SchemaState(**{"applied": [], "missing": [], "altered": [], "unknown": [], **fields})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"missing": ["0002_b"]}, "todoke migrate"),
        ({"altered": ["0001_a"]}, "another edition"),
        ({"unknown": ["0099_z"]}, r"later version .*0099_z.*install"),
    ],
)
def test_a_schema_that_is_behind_ahead_or_altered_is_told_with_what_to_do(
    wrong: dict[str, list[str]], says: str
) -> None:
    assert not state(**wrong).is_current
    with pytest.raises(SchemaError, match=f"database mail .*{says}"):
        state(**wrong).require("mail")
