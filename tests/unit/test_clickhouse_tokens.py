"""Tokens of inserts whose parts are not there."""

import shutil
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import pytest

from deploy.embedded.clickhouse import tokens
from deploy.embedded.clickhouse.parts import Parts
from deploy.embedded.clickhouse.tokens import Logs, take_back_orphans

Table = Callable[..., Path]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Make a table's folder with some parts and a log; give the log's last file."""

    def make(parts: list[str], *logs: str) -> Path:
        folder = tmp_path / "store/0f2/0f2b115e-928b-4171-af79-b203c0deb191"
        for part in parts:
            (folder / part).mkdir(parents=True)
        (folder / "deduplication_logs").mkdir(parents=True)
        files = [folder / f"deduplication_logs/deduplication_log_{number}.txt" for number in range(9, 9 + len(logs))]
        for file, log in zip(files, logs, strict=True):
            file.write_text(log)
        return files[-1]

    return make


@pytest.mark.parametrize("name", ["all_1_1_0", "all_4_4_1", "all_5_5_0", "all_7_7_0", "all_8_8_1"])
def test_a_part_is_there_by_itself_or_in_one_that_it_was_merged_into(name: str) -> None:
    assert Parts(["all_1_1_0", "all_2_5_1", "all_4_4_0", "all_7_9_3_12", "detached"]).hold(name)


@pytest.mark.parametrize("name", ["all_6_6_0", "all_10_10_0", "202603_1_1_0"])
def test_a_part_that_is_neither_is_not_there(name: str) -> None:
    names = ["all_1_5_1", "all_7_9_3", "tmp_insert_all_6_6_0", "tmp_merge_all_1_6_2", "detached", "format_version.txt"]
    assert not Parts(names).hold(name)


def test_the_token_of_a_part_that_is_not_there_is_taken_back(tmp_path: Path, table: Table) -> None:
    log = table(
        ["202603_1_2_1", "202604_3_3_0"],
        "1\t202603_1_1_0\tb1\n",
        "1\t202603_2_2_0\tb2\n1\t202604_3_3_0\tb3\n1\t202604_4_4_0\tb4\n",
    )
    before = log.read_text()

    take_back_orphans(tmp_path)
    assert log.read_text() == before + "2\t202604_4_4_0\tb4\n"

    take_back_orphans(tmp_path)
    assert log.read_text() == before + "2\t202604_4_4_0\tb4\n"


def test_a_log_whose_parts_are_all_there_or_were_taken_back_is_not_touched(tmp_path: Path, table: Table) -> None:
    log = table(["all_2_2_0"], "1\tall_1_1_0\tb1\n1\tall_2_2_0\tb2\n2\tall_1_1_0\tb1\n")
    before = log.stat()

    take_back_orphans(tmp_path)

    assert (log.stat().st_ino, log.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_block_that_was_taken_back_and_came_again_counts_as_it_came_last(tmp_path: Path, table: Table) -> None:
    log = table(["all_2_2_0"], "1\tall_1_1_0\tb\n2\tall_1_1_0\tb\n1\tall_2_2_0\tb\n")
    before = log.read_text()

    take_back_orphans(tmp_path)

    assert log.read_text() == before


def held(engine: Path, names: Collection[str]) -> Collection[tuple[str, str]]:
    """Answer for an engine that holds all parts that are there."""
    return {(path.parent.name, path.name) for path in engine.glob("store/*/*/*") if path.name in names}


WHOLE = "1\tall_1_1_0\tb1\n"


@pytest.mark.parametrize("torn", ["1\tall_2_2_0\tb", "1\tall_2", "\0" * 57, "1\tall_2_2_0\t\0\0\n"])
@pytest.mark.parametrize(
    "later", [[], [""], ["1\tall_3_3_0\tb3\n"]], ids=["the last log", "an empty one behind", "one behind"]
)
def test_a_line_that_is_not_whole_is_left_out(tmp_path: Path, table: Table, torn: str, later: list[str]) -> None:
    log = table(["all_1_3_1"], WHOLE + torn, *later)

    take_back_orphans(tmp_path)

    assert log.with_name("deduplication_log_9.txt").read_text() == WHOLE
    assert not later or log.read_text() == later[-1]


def test_a_log_of_another_version_of_the_engine_is_refused(tmp_path: Path, table: Table) -> None:
    table(["all_1_1_0"], WHOLE + "3\tall_2_2_0\tb2\n")

    with pytest.raises(OSError, match="another version"):
        take_back_orphans(tmp_path)


def test_what_is_taken_back_stands_on_a_line_of_its_own(tmp_path: Path, table: Table) -> None:
    log = table(["all_1_1_0"], WHOLE + "1\tall_2_2_0\tb2\n1\tall_3")

    take_back_orphans(tmp_path)

    assert log.read_text() == WHOLE + "1\tall_2_2_0\tb2\n2\tall_2_2_0\tb2\n"


def test_a_file_is_no_part(tmp_path: Path, table: Table) -> None:
    log = table([], WHOLE)
    (log.parent.parent / "all_1_1_0").touch()

    take_back_orphans(tmp_path)

    assert log.read_text() == WHOLE + "2\tall_1_1_0\tb1\n"


def test_parts_of_an_older_form_of_names_are_left_alone() -> None:
    assert Parts(["20200101_20200131_1_1_0"]).hold("20200101_20200131_1_1_0")


def test_what_a_failed_insert_left_behind_is_taken_back_though_a_merge_went_over_it(
    tmp_path: Path, table: Table
) -> None:
    log = table(["all_1_1_0", "all_3_3_0", "all_1_3_1"], WHOLE)
    logs = Logs(tmp_path, partial(held, tmp_path))
    logs.find()
    insert = logs.begin()
    log.write_text(WHOLE + "1\tall_2_2_0\tb2\n1\tall_3_3_0\tb3\n")

    assert logs.failed(insert)

    take_back_orphans(tmp_path)
    assert log.read_text() == WHOLE + "2\tall_2_2_0\tb2\n1\tall_3_3_0\tb3\n"


def test_what_is_in_doubt_when_all_ends_counts_if_its_part_has_got_its_name(tmp_path: Path, table: Table) -> None:
    log = table(["all_1_1_0", "all_1_3_1"], "0\tall_1_1_0\tb1\n0\tall_2_2_0\tb2\n", "")

    take_back_orphans(tmp_path)

    assert log.with_name("deduplication_log_9.txt").read_text() == "1\tall_1_1_0\tb1\n2\tall_2_2_0\tb2\n"


def test_the_token_of_what_was_dropped_on_purpose_is_in_no_doubt(tmp_path: Path, table: Table) -> None:
    log = table([], "", "")
    logs = Logs(tmp_path, partial(held, tmp_path))
    logs.find()
    insert = logs.begin()
    log.with_name("deduplication_log_9.txt").write_text(WHOLE)
    log.write_text("2\tall_1_1_0\tb1\n")

    assert not logs.failed(insert)


def test_a_table_that_is_dropped_leaves_nothing_in_doubt(tmp_path: Path, table: Table) -> None:
    log = table([], "")
    logs = Logs(tmp_path, partial(held, tmp_path))
    logs.find()
    insert = logs.begin()
    logs.begin()
    log.write_text(WHOLE)
    dropped = threading.Timer(0.2, lambda: shutil.rmtree(log.parents[1]))
    dropped.start()

    assert not logs.failed(insert)


def test_logs_that_are_looked_for_by_several_at_once_are_all_known(
    tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that began first, and saw less, ends last."""
    log = table([], "")
    logs = Logs(tmp_path, partial(held, tmp_path))
    looked, go_on = threading.Event(), threading.Event()

    def slow(_: Path) -> list[str]:
        looked.set()
        go_on.wait()
        return []

    with ThreadPoolExecutor() as threads:
        with monkeypatch.context() as patch:
            patch.setattr(tokens, "_logs", slow)
            first = threads.submit(logs.find)
            looked.wait()
        second = threads.submit(logs.find)
        wait([second], timeout=0.2)
        go_on.set()
        first.result()
        second.result()
    insert = logs.begin()
    log.write_text(WHOLE)
    assert logs.failed(insert)


def test_an_insert_waits_for_one_of_its_token(tmp_path: Path) -> None:
    logs = Logs(tmp_path, partial(held, tmp_path))

    def insert(token: str) -> None:
        with logs.turn(token):
            pass

    with ThreadPoolExecutor() as threads:
        with logs.turn("a"):
            same, other, without = (threads.submit(insert, token) for token in ("a", "b", ""))
            assert wait([same, other, without], timeout=0.2).done == {other, without}
        same.result()


def test_nothing_is_called_done_while_an_insert_is_in_doubt(tmp_path: Path, table: Table) -> None:
    log = table([], "")
    logs = Logs(tmp_path, partial(held, tmp_path))
    logs.find()
    insert, other, third = logs.begin(), logs.begin(), logs.begin()
    log.write_text(WHOLE)

    with ThreadPoolExecutor() as threads:
        failed = threads.submit(logs.failed, insert)
        while log.read_text() == WHOLE:
            time.sleep(0.01)
        done = threads.submit(logs.done, other)
        assert wait([done], timeout=0.2).not_done
        (log.parents[1] / "all_1_1_0").mkdir()
        assert not failed.result()
        done.result()
    logs.done(third)


def test_of_an_insert_that_took_long_merged_parts_may_have_lost_their_names(
    tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = table(["all_1_3_1"], "")
    logs = Logs(tmp_path, partial(held, tmp_path))
    logs.find()
    insert = logs.begin()
    log.write_text(WHOLE)
    monkeypatch.setattr(tokens, "_NAMES_STAY", 0)

    assert not logs.failed(insert)

    assert log.read_text() == WHOLE


def test_an_insert_that_is_under_way_is_waited_for(tmp_path: Path, table: Table) -> None:
    log = table([], "")
    logs = Logs(tmp_path, partial(held, tmp_path))
    logs.find()
    insert, other = logs.begin(), logs.begin()
    log.write_text(WHOLE)

    with ThreadPoolExecutor() as threads:
        failed = threads.submit(logs.failed, insert)
        assert wait([failed], timeout=0.2).not_done
        assert log.read_text() == "0" + WHOLE[1:]
        (log.parents[1] / "all_1_1_0").mkdir()
        done = threads.submit(logs.done, other)
        assert not failed.result()
        done.result()
    assert log.read_text() == WHOLE


def test_nobody_is_waited_for_where_no_other_insert_can_be_meant(tmp_path: Path, table: Table) -> None:
    log = table([], "")
    logs = Logs(tmp_path, partial(held, tmp_path))
    logs.find()
    insert = logs.begin()
    log.write_text(WHOLE)

    assert logs.failed(insert)
    assert log.read_text() == "0" + WHOLE[1:]


def test_a_part_that_has_its_name_but_was_not_taken_over_loses_it(tmp_path: Path, table: Table) -> None:
    """As where the engine can give the name, and then not open the folder: `take_back_orphans` sees the name alone."""
    log = table(["all_1_1_0"], "")
    logs = Logs(tmp_path, lambda _: ())
    logs.find()
    insert = logs.begin()
    log.write_text(WHOLE)

    assert logs.failed(insert)

    take_back_orphans(tmp_path)
    assert log.read_text() == "2" + WHOLE[1:]


def test_the_end_leaves_what_others_left_behind_in_doubt(tmp_path: Path, table: Table) -> None:
    log = table(["all_1_2_1"], "")
    logs = Logs(tmp_path, lambda _: ())
    logs.find()
    logs.begin()
    log.write_text(WHOLE)
    insert = logs.begin()
    log.write_text(WHOLE + "1\tall_3_3_0\tb3\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "_PATIENCE", 0)
        assert logs.failed(insert)

    assert log.read_text() == "0" + WHOLE[1:] + "0\tall_3_3_0\tb3\n"


def test_what_was_noted_before_the_insert_is_not_looked_at(tmp_path: Path, table: Table) -> None:
    table(["all_1_3_1"], WHOLE)

    logs = Logs(tmp_path, partial(held, tmp_path))
    logs.find()

    assert not logs.failed(logs.begin())
