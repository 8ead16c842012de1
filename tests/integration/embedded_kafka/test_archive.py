"""The archive of classes: made by a broker, used by the next ones, and never needed."""

import asyncio
import os
from pathlib import Path

from deploy.embedded.kafka import EmbeddedKafka, jvm
from deploy.embedded.kafka.archive import KEPT, archive_path, keep
from deploy.embedded.kafka.jars import class_path, default_cache


async def test_a_broker_writes_the_archive_that_another_one_starts_from(tmp_path: Path) -> None:
    archive = tmp_path / "classes.aot"
    maker = EmbeddedKafka(data=tmp_path / "maker", archive_to=archive)
    await maker.start()
    await maker.stop(120)

    jars = class_path(cache=default_cache())
    command = jvm.broker_command(
        jars, heap="256m", log=tmp_path / "log", temporary=tmp_path, archive=jvm.read_archive(archive)
    )
    # `on` refuses to start where the archive does not fit what is started; this asks for no more than the version.
    asked = [*command[:-2], "-XX:AOTMode=on", "-version"]
    process = await asyncio.create_subprocess_exec(*asked, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


def test_the_archive_is_of_these_jars_and_this_runtime(tmp_path: Path) -> None:
    jar = tmp_path / "a.jar"
    jar.write_bytes(b"one")
    before = archive_path([jar], cache=tmp_path)
    assert archive_path([jar], cache=tmp_path) == before
    jar.write_bytes(b"another")
    assert archive_path([jar], cache=tmp_path) != before


def test_only_the_latest_archives_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        made = tmp_path / "made"
        made.write_bytes(b"")
        os.utime(made, (number, number))
        keep(made, tmp_path / "classes" / f"{number}.aot")
    kept = sorted(path.name for path in (tmp_path / "classes").iterdir())
    assert kept == [f"{number}.aot" for number in range(2, KEPT + 3)]
