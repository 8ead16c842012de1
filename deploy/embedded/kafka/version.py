"""The one version of Apache Kafka that this todoke runs and whose data folders it reads."""

KAFKA_VERSION = "4.3.1"
"""Of the broker's jars; the lock file beside this module pins each of them."""
