"""Apache Kafka and ClickHouse's engine on one machine with nothing installed but Python."""
