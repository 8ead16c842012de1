"""The jars of a Java program: pinned by a lock file, fetched once, checked at every start.

The lock file is jgo's (https://github.com/apposed/jgo): coordinates and SHA-256 of the program and of all that it
needs, transitively. Whoever runs it asks no server what belongs to it: each jar is fetched by its coordinates, compared
with its SHA-256 and only then moved to its place. So nothing but the lock decides what is run, and a mirror need not be
trusted. jgo's own environments are not used, since building one fetches a whole JDK to sort jars into modules.
"""

import hashlib
import logging
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from deploy.embedded.kafka.errors import JarRefusedError, JarsUnavailableError

if TYPE_CHECKING:
    from jgo.maven import MavenContext

logger = logging.getLogger(__name__)

BROKER_LOCK = Path(__file__).with_name("jgo.lock.toml")
"""What the embedded broker is made of; `deploy.embedded.kafka.lock` writes it."""

PARALLEL = 8
"""Fetches at a time: the files are small and come from one server, so the round trips cost, not the bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Jar:
    """One line of a lock file."""

    group: str
    artifact: str
    version: str
    classifier: str
    packaging: str
    sha256: str

    @property
    def coordinate(self) -> str:
        """Name it as Maven does, ``group:artifact:version``, with packaging and classifier where they matter."""
        classifier = f":{self.classifier}" if self.classifier else ""
        return f"{self.group}:{self.artifact}:{self.packaging}{classifier}:{self.version}"

    @property
    def path(self) -> PurePosixPath:
        """Tell its place in a Maven repository."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        name = f"{self.artifact}-{self.version}{classifier}.{self.packaging}"
        return PurePosixPath(*self.group.split("."), self.artifact, self.version, name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a fetch is."""

    done: int
    """Jars that are in the cache folder."""

    total: int
    """Jars that the lock file names."""

    megabytes: float
    """Size of those that this fetch brought, in units of 1,000,000 bytes."""

    def __str__(self) -> str:
        """Say it as a line for people."""
        return f"{self.done} of {self.total} jars, {self.megabytes:.1f} MB fetched"


def default_cache() -> Path:
    """Name the user's cache folder: XDG's default place on Linux, Apple's on macOS."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "todoke"
    return Path.home() / ".cache" / "todoke"


def locked_jars(lock: Path) -> tuple[Jar, ...]:
    """Read a lock file.

    Raises:
        JarRefusedError: it names a jar without its SHA-256.
    """
    jars = tuple(
        Jar(
            group=entry["groupId"],
            artifact=entry["artifactId"],
            version=entry["version"],
            classifier=entry.get("classifier", ""),
            packaging=entry.get("packaging", "jar"),
            sha256=entry.get("sha256", ""),
        )
        for entry in tomllib.loads(lock.read_text(encoding="utf-8"))["dependencies"]
    )
    for jar in jars:
        if not jar.sha256:
            raise JarRefusedError(f"{lock} names {jar.coordinate} without its SHA-256. Write the lock file anew.")
    return jars


def class_path(
    lock: Path = BROKER_LOCK, *, cache: Path, progress: Callable[[Progress], None] | None = None
) -> tuple[Path, ...]:
    """Give the jars that a lock file names, in its order, each one checked; fetch those that are missing.

    Blocks: for as long as it takes to read the jars, and the first time for as long as it takes to fetch them.

    Args:
        lock: the lock file.
        cache: folder that keeps the jars, in a Maven repository's layout under ``jars``; made where it is missing.
        progress: called in this thread before a fetch and after each jar of it; never when nothing is missing.

    Raises:
        JarRefusedError: a jar, kept or fetched, is not the locked one.
        JarsUnavailableError: a missing jar could not be fetched. What was fetched is kept for the next try.
    """
    repository = cache / "jars"
    jars = locked_jars(lock)
    missing = [jar for jar in jars if not (repository / jar.path).exists()]
    for jar in jars:
        if jar not in missing:
            _check(jar, repository / jar.path)
    if missing:
        _fetch(missing, repository, total=len(jars), progress=progress)
    return tuple(repository / jar.path for jar in jars)


def _check(jar: Jar, path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != jar.sha256:
        raise JarRefusedError(
            f"{path} is not the {jar.coordinate} that todoke was made with: its SHA-256 is {found}, not {jar.sha256}. "
            "It is not run. Find out who changed it; delete it, and the next start fetches it again."
        )


def _fetch(
    missing: Sequence[Jar], repository: Path, *, total: int, progress: Callable[[Progress], None] | None
) -> None:
    """Bring each missing jar through a staging folder, so that a jar in its place is always whole and checked."""
    report = progress or log_progress
    done, size = total - len(missing), 0
    report(Progress(done=done, total=total, megabytes=0.0))
    try:
        repository.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".fetch-", dir=repository.parent) as staging,
            ThreadPoolExecutor(PARALLEL, thread_name_prefix="fetch-jars") as pool,
        ):
            fetches = [pool.submit(_fetch_one, jar, Path(staging), repository) for jar in missing]
            try:
                for fetch in as_completed(fetches):
                    size += fetch.result()
                    done += 1
                    report(Progress(done=done, total=total, megabytes=size / 1e6))
            finally:
                pool.shutdown(cancel_futures=True)
    except ConnectionError as error:
        raise JarsUnavailableError(
            f"No network? {total - done} of {total} jars are missing in {repository} and could not be fetched. "
            "They come from Maven Central, once. Connect this machine to the network (behind a proxy set HTTPS_PROXY, "
            "for a mirror run `jgo config set repositories.central URL`) and start again, which goes on where this "
            f"stopped; or copy that folder from a machine where todoke has run. The first error: {error}"
        ) from error
    except OSError as error:
        raise JarsUnavailableError(
            f"The jars cannot be kept in {repository}: {error}. "
            "Make room there and let this user write to it, or choose another cache folder."
        ) from error


def _fetch_one(jar: Jar, staging: Path, repository: Path) -> int:
    from requests import RequestException  # noqa: PLC0415 - as in _maven

    context = maven(staging)
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    try:
        fetched = Path(component.artifact(jar.classifier, jar.packaging).resolve())
    except (RequestException, RuntimeError) as error:  # the latter is jgo's word for "no server has it"
        raise ConnectionError(f"{jar.coordinate}: {error}") from error
    _check(jar, fetched)
    place = repository / jar.path
    place.parent.mkdir(parents=True, exist_ok=True)
    size = fetched.stat().st_size
    fetched.replace(place)
    return size


def maven(repository: Path) -> "MavenContext":
    """Give jgo a folder to fetch into and the servers that its own commands would ask, so that it can name a mirror."""
    # jgo takes long to import, and a start needs it only when jars are missing.
    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
    from jgo.maven import MavenContext  # noqa: PLC0415

    servers = {"central": MAVEN_CENTRAL_URL} | GlobalSettings.load().repositories
    return MavenContext(repo_cache=repository, local_repos=[], remote_repos=servers, timeout=20)


def log_progress(progress: Progress) -> None:
    """Report progress to the log, a line every ten jars."""
    if progress.done % 10 == 0 or progress.done == progress.total:
        logger.info("Fetching jars: %s", progress)
