"""How far each stage is, by the logs alone."""

from deploy.embedded.kafka import EmbeddedKafka
from deploy.progress import stages
from streams.contracts.chain import Link
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import topics
from tests.integration.sinks.outbox import OutboxLog, make_topics


async def test_an_answer_of_a_worker_that_had_lost_its_partition_does_not_count(
    kafka: EmbeddedKafka, topic_prefix: str
) -> None:
    connection, names = KafkaConnection(bootstrap_servers=kafka.bootstrap_servers), topics(topic_prefix)
    await make_topics(connection, names, partitions=2)
    async with OutboxLog(connection, names) as outbox:
        assert outbox._producer is not None
        epoch = ""
        for _ in range(5):
            await outbox._producer.send_and_wait(names.inbox.name, b"", partition=0)
            epoch = (await outbox.answer(0, {})).epoch
        assert (await stages(connection, names, {}))[0].behind == 0
        for stamp in (1, 2):
            await outbox.append(0, Link(epoch=epoch, stamp=stamp, previous=stamp - 1), {})

        (worker,) = await stages(connection, names, {})

    assert worker.behind == 0
