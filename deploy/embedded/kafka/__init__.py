"""Apache Kafka on one machine with nothing installed but Python: Java from a wheel, jars fetched once and checked."""

from deploy.embedded.kafka.broker import EmbeddedKafka
from deploy.embedded.kafka.errors import JarRefusedError, JarsUnavailableError
from deploy.embedded.kafka.version import KAFKA_VERSION

__all__ = ["KAFKA_VERSION", "EmbeddedKafka", "JarRefusedError", "JarsUnavailableError"]
