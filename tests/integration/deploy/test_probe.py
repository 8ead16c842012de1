"""What is asked of a broker to know whether it does its work."""

import psutil

from deploy.embedded.clickhouse import EmbeddedClickHouse
from deploy.embedded.kafka import EmbeddedKafka
from deploy.ports import free_port
from deploy.probe import kafka_answers


async def test_a_broker_answers_unless_it_hangs_or_is_not_there(kafka: EmbeddedKafka) -> None:
    port = int(kafka.bootstrap_servers.rsplit(":", 1)[1])
    assert await kafka_answers("127.0.0.1", port)
    assert not await kafka_answers("127.0.0.1", free_port())

    java = psutil.Process(kafka.pid)
    java.suspend()  # the system goes on taking connections for it
    try:
        assert not await kafka_answers("127.0.0.1", port, patience=0.3)
    finally:
        java.resume()
    assert await kafka_answers("127.0.0.1", port, patience=30)


async def test_a_server_of_another_kind_does_not_count(clickhouse: EmbeddedClickHouse) -> None:
    assert not await kafka_answers(clickhouse.host, clickhouse.port)
