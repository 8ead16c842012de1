"""Writing a lock file, for developers: ``python -m deploy.embedded.kafka.lock`` resolves the broker's jars anew.

To move to another Kafka, change `version.py`, run that, and run the tests.
"""

import logging
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.env import LockedDependency, LockFile
from jgo.parse import Coordinate

from deploy.embedded.kafka.jars import BROKER_LOCK, PARALLEL, maven
from deploy.embedded.kafka.version import KAFKA_VERSION

logger = logging.getLogger(__name__)

BROKER_COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    # Kafka logs through SLF4J 1.7 and leaves it to its packager to bind that to Log4j 2, which it depends on itself.
    # "!" keeps this project's own version choices away from Kafka's.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!",
)


def write_lock(coordinates: Sequence[str], lock: Path) -> int:
    """Resolve programs and all that they need at run time, and write the lock file that pins them; it names no server.

    Args:
        coordinates: ``group:artifact:version``. Each decides versions for all of them, unless it ends in ``!``.
        lock: the file to write.

    Returns:
        The number of jars.

    Raises:
        OSError: no network.
        RuntimeError: no such coordinates.
    """
    with tempfile.TemporaryDirectory() as folder:
        context = maven(Path(folder))
        roots = [context.create_dependency(Coordinate.parse(coordinate)) for coordinate in coordinates]
        found, needed = context.resolver.resolve(roots)
        chosen = {
            (jar.groupId, jar.artifactId, jar.classifier): jar
            for jar in [*found, *(jar for jar in needed if jar.scope in {"compile", "runtime"})]
        }
        with ThreadPoolExecutor(PARALLEL) as pool:
            jars = list(pool.map(LockedDependency.from_dependency, (chosen[key] for key in sorted(chosen))))
    LockFile(dependencies=jars).save(lock)
    return len(jars)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logger.info("%d jars locked in %s", write_lock(BROKER_COORDINATES, BROKER_LOCK), BROKER_LOCK)
