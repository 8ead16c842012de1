"""The local journal: posts are durable on this machine's disk first, and go into Kafka from there."""
