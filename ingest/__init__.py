"""HTTP in, Kafka out: webhook posts become durable chunks of normalised events."""
