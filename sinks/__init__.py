"""Kafka in, ClickHouse tables and public topics out, each exactly once."""
