"""The archive of classes: made by a broker, used by the next ones, and never needed."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from deploy.embedded.errors import ServerFailedError
from deploy.embedded.kafka import EmbeddedKafka, jvm
from deploy.embedded.kafka.archive import (
    AGAIN_AFTER,
    KEPT,
    LEFT_BEHIND_AFTER,
    MAKING,
    archive_path,
    is_due,
    keep,
    note_failure,
    note_use,
    sweep,
)
from deploy.embedded.kafka.jars import class_path, default_cache


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that a broker wrote, whatever lies in the user's cache."""
    folder = tmp_path_factory.mktemp("archive")

    async def make() -> None:
        maker = EmbeddedKafka(data=folder / "maker", archive_to=folder / "classes.aot")
        await maker.start()
        await maker.stop(120)

    asyncio.run(make())
    return folder / "classes.aot"


async def test_a_broker_writes_the_archive_that_another_one_starts_from(tmp_path: Path, archive: Path) -> None:
    jars = class_path(cache=default_cache())
    command = jvm.broker_command(
        jars, heap="256m", log=tmp_path / "log", temporary=tmp_path, archive=jvm.read_archive(archive)
    )
    # `on` refuses to start where the archive does not fit what is started; this asks for no more than the version.
    asked = [*command[:-2], "-XX:AOTMode=on", "-version"]
    process = await asyncio.create_subprocess_exec(*asked, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


def in_its_head(archive: Path) -> bytes:
    right = bytearray(archive.read_bytes())
    right[100:102] = b"zz"
    return bytes(right)


@pytest.mark.parametrize("ended", ["in order", "by a kill"])
@pytest.mark.parametrize("damage", ["foreign", "in its head"])
async def test_an_archive_that_java_cannot_use_is_deleted(
    tmp_path: Path, archive: Path, damage: str, ended: str
) -> None:
    """It goes on without one that it does not know, and crashes over one that it takes for whole."""
    if ended == "by a kill":  # then the controller is the first to read it
        async with EmbeddedKafka(data=tmp_path / "kafka") as former:
            former.kill()
            await former.wait()
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "jars").symlink_to(default_cache() / "jars")
    damaged = archive_path(class_path(cache=cache), cache=cache)
    damaged.parent.mkdir()
    damaged.write_bytes(b"foreign" if damage == "foreign" else in_its_head(archive))

    broker = EmbeddedKafka(data=tmp_path / "kafka", cache=cache)
    with contextlib.suppress(ServerFailedError):
        await broker.start()
    assert not damaged.exists()
    assert damaged.with_suffix(".failed").exists()
    if broker.pid is None:
        await broker.start()
    await broker.stop(30)


def test_an_archive_that_could_not_be_made_is_not_tried_again_at_each_start(tmp_path: Path) -> None:
    archive = tmp_path / "classes" / "one.aot"
    made = tmp_path / "made"
    made.write_bytes(b"")
    assert is_due(archive, 0)

    note_failure(archive)
    failed = archive.with_suffix(".failed").stat().st_mtime
    assert not is_due(archive, failed + AGAIN_AFTER - 1)
    assert is_due(archive, failed + AGAIN_AFTER + 1)
    keep(made, archive)
    assert not is_due(archive, failed + AGAIN_AFTER + 1)
    archive.unlink()
    assert is_due(archive, failed + 1)


def test_what_killed_makers_left_behind_is_deleted(tmp_path: Path) -> None:
    for name, age in (("old", LEFT_BEHIND_AFTER + 1), ("new", LEFT_BEHIND_AFTER - 1)):
        (tmp_path / f"{MAKING}{name}" / "data").mkdir(parents=True)
        os.utime(tmp_path / f"{MAKING}{name}", (1e9 - age, 1e9 - age))
    sweep(tmp_path, 1e9)

    assert [path.name for path in tmp_path.iterdir()] == [f"{MAKING}new"]


def test_the_archive_is_of_these_jars_and_this_runtime(tmp_path: Path) -> None:
    jar = tmp_path / "a.jar"
    jar.write_bytes(b"one")
    before = archive_path([jar], cache=tmp_path)
    assert archive_path([jar], cache=tmp_path) == before
    jar.write_bytes(b"another")
    assert archive_path([jar], cache=tmp_path) != before


def keep_another(folder: Path, number: int) -> None:
    made = folder / "made"
    made.write_bytes(b"")
    os.utime(made, (number, number))
    keep(made, folder / "classes" / f"{number}.aot")


def test_only_the_latest_archives_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        keep_another(tmp_path, number)
    kept = sorted(path.name for path in (tmp_path / "classes").iterdir())
    assert kept == [f"{number}.aot" for number in range(2, KEPT + 3)]


def test_an_archive_that_is_used_stays(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        keep_another(tmp_path, number)
        note_use(tmp_path / "classes" / "0.aot")
    assert (tmp_path / "classes" / "0.aot").exists()
    assert not (tmp_path / "classes" / "1.aot").exists()
