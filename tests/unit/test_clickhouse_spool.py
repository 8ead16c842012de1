"""The rows of an INSERT in the embedded ClickHouse, with a real disk below them."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded.clickhouse.errors import ClickHouseError
from deploy.embedded.clickhouse.spool import Spool
from deploy.embedded.clickhouse.statements import Insert

ROOM = 3 * 2**20


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files may have `ROOM` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def spool(folder: Path) -> Spool:
    return Spool(folder, Insert(text=b"INSERT INTO t -- here", settings=b"SETTINGS a = 1", format="CSV", rows=b""), {})


def fill(kept: Spool) -> None:
    for _ in range(9):
        kept.append(bytes(700_000))


def test_the_engine_reads_what_was_kept_and_nothing_is_left(tmp_path: Path) -> None:
    kept = spool(tmp_path)
    kept.append(b"1\n")
    kept.append(b"2\n")
    statement = kept.statement().decode()
    assert statement.startswith("INSERT INTO t -- here\nFROM INFILE '/dev/fd/")
    assert statement.endswith("' COMPRESSION 'none'\nSETTINGS a = 1\nFORMAT CSV")
    place = statement.split("'")[1]
    assert Path(place).read_bytes() == b"1\n2\n"
    assert kept.without_place(f"Cannot parse: (in file/uri {place}): row 2") == "Cannot parse: row 2"
    kept.close()
    kept.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_disk")
def test_a_disk_that_fills_up_while_rows_come_is_told_and_they_can_be_let_go_of(tmp_path: Path) -> None:
    kept = spool(tmp_path)
    with pytest.raises(ClickHouseError, match=r"Code: 243\..*NOT_ENOUGH_SPACE"):
        fill(kept)
    kept.close()


@pytest.mark.usefixtures("small_disk")
def test_a_disk_that_fills_up_with_the_last_rows_is_told_and_they_can_be_let_go_of(tmp_path: Path) -> None:
    kept = spool(tmp_path)
    kept.append(bytes(ROOM))
    kept.append(b"1\n")
    with pytest.raises(ClickHouseError, match=r"Code: 243\..*NOT_ENOUGH_SPACE"):
        kept.statement()
    kept.close()
