"""What one event costs Kafka, in microseconds of the broker's processor time: as it is, and changed, in one run.

    python -m tests.benchmarks.kafka_cpu [--events 200000] [--records 3]
        [--changed-records 1] [--client-codec CODEC] [--public CODEC] [--java=FLAG] [--property NAME=VALUE]

Two embedded brokers get the same requests in turn: chunks into the inbox, answers into the outbox, transactions of so
many records into the public topics; each internal topic is read as it is in a pipeline. Codecs, Java flags and broker
properties are for the second broker alone; --client-codec has Kafka's client compress the internal topics. The clients'
own processor time stands beside the broker's.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from deploy.embedded.kafka import EmbeddedKafka, broker, jvm
from deploy.settings import TopicsSettings
from deploy.topics import ensure_topics
from sinks import publication
from sinks.producer import BATCH_BYTES, RETRY_BACKOFF_MS
from streams.contracts.codec import compressed, decode
from streams.contracts.compression import Compression
from streams.contracts.kafka import KafkaConnection
from streams.contracts.topics import OUTBOX_LIMIT
from tests.benchmarks.correlation_cpu import CHUNK_EVENTS, chunks, run

WARM_UP = 30
"""Records before the measurement, so that Java has compiled what is used."""
PUBLIC = (("mail.events", publication.events), ("mail.lifecycles", publication.lifecycles))
GROUP = "benchmark"


class Broker:
    """One broker, its clients, and what it has been given."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self._server = EmbeddedKafka(data=folder)
        self._given = given
        self._events = 0
        self._begun = (0.0, 0.0)
        self.own = 0.0
        """Seconds of processor time of the clients."""

    async def start(self) -> None:
        await self._server.start()
        where = self._server.bootstrap_servers
        settings = TopicsSettings(replication_factor=1, shards=1)
        await ensure_topics(KafkaConnection(bootstrap_servers=where), settings, create=True)
        options: dict[str, Any] = {"bootstrap_servers": where, "max_request_size": OUTBOX_LIMIT, "acks": "all"}
        self._producers = {
            topic: AIOKafkaProducer(**options, enable_idempotence=True, compression_type=self._given.client_codec)
            for topic in ("mail.inbox", "mail.outbox")
        }
        self._public = AIOKafkaProducer(
            **options,
            transactional_id=GROUP,
            compression_type=self._given.public,
            max_batch_size=BATCH_BYTES,
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )
        readers = ("mail.inbox", "mail.outbox", "mail.outbox")
        self._consumers = [AIOKafkaConsumer(bootstrap_servers=where, auto_offset_reset="earliest") for _ in readers]
        self._clients: list[Any] = [*self._producers.values(), self._public, *self._consumers]
        for client in self._clients:
            await client.start()
        for topic, consumer in zip(readers, self._consumers, strict=True):
            consumer.assign([TopicPartition(topic, 0)])

    async def work(self, inbox: Sequence[bytes], outbox: Sequence[bytes]) -> None:
        """Do what the pipeline does with some records."""
        began = time.process_time()
        await asyncio.gather(
            self._log("mail.inbox", inbox),
            self._log("mail.outbox", outbox),
            *(self._read(consumer, len(inbox)) for consumer in self._consumers),
        )
        for at in range(0, len(outbox), self._given.records):
            await self._transaction(outbox[at : at + self._given.records])
        self._events += len(inbox) * CHUNK_EVENTS
        self.own += time.process_time() - began

    def begin(self) -> None:
        """Count from now."""
        self._events, self.own, self._begun = 0, 0.0, self._seconds()

    def cost(self) -> str:
        user, system = (
            (now - then) / self._events * 1e6 for now, then in zip(self._seconds(), self._begun, strict=True)
        )
        clients = self.own / self._events * 1e6
        return f"{user + system:6.2f} µs per event, {system:5.2f} of them in the kernel; clients {clients:.2f}"

    async def stop(self) -> None:
        for client in self._clients:
            await client.stop()
        await self._server.stop()

    async def _log(self, topic: str, values: Sequence[bytes]) -> None:
        how = Compression.NONE if self._given.client_codec else Compression.ZSTD
        for value in values:
            await self._producers[topic].send_and_wait(topic, compressed(value, how, OUTBOX_LIMIT), partition=0)

    async def _read(self, consumer: AIOKafkaConsumer, wanted: int) -> None:
        while wanted > 0:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    decode(record.value or b"")  # which is where it may be unpacked
                wanted -= len(records)

    async def _transaction(self, values: Sequence[bytes]) -> None:
        records, sent = [decode(value) for value in values], []
        await self._public.begin_transaction()
        for topic, publish in PUBLIC:
            batch = self._public.create_batch()
            for key, value, headers in (one for record in records for one in publish(record)):
                new: dict[str, Any] = {"key": key, "value": value, "timestamp": None, "headers": headers}
                if batch.append(**new) is None:
                    sent.append(await self._public.send_batch(batch, topic, partition=0))
                    batch = self._public.create_batch()
                    batch.append(**new)
            sent.append(await self._public.send_batch(batch, topic, partition=0))
        await asyncio.gather(*sent)
        place = {TopicPartition("mail.outbox", 0): OffsetAndMetadata(self._events, "")}
        await self._public.send_offsets_to_transaction(place, GROUP)
        await self._public.commit_transaction()

    def _seconds(self) -> tuple[float, float]:
        times = psutil.Process(self._server.pid).cpu_times()
        return times.user, times.system


async def start_changed(changed: Broker, given: argparse.Namespace) -> None:
    """Start a broker with other flags and properties than the ones that the project has."""
    module: Any = broker
    command, properties = jvm.broker_command, module.server_properties
    jvm.broker_command = lambda *a, **k: [*(java := command(*a, **k))[:-2], *given.java, *java[-2:]]
    module.server_properties = lambda **k: properties(**k) | dict(one.split("=", 1) for one in given.property)
    try:
        await changed.start()
    finally:
        jvm.broker_command, module.server_properties = command, properties


async def measure(folder: Path, given: argparse.Namespace) -> None:
    inbox, outbox = list(chunks(given.events // 2, 2)), run(given.events // 2, 2)[1:]
    same = argparse.Namespace(records=given.records, client_codec=None, public=None)
    records = given.changed_records or given.records
    other = argparse.Namespace(records=records, client_codec=given.client_codec, public=given.public)
    brokers = {"as it is": Broker(folder / "a", same), "changed": Broker(folder / "b", other)}
    await brokers["as it is"].start()
    await start_changed(brokers["changed"], given)
    try:
        for one in brokers.values():
            await one.work(inbox[:WARM_UP], outbox[:WARM_UP])
            one.begin()
        each = 4 * max(same.records, other.records)
        for turn, at in enumerate(range(0, len(inbox), each)):
            for one in list(brokers.values())[:: 1 if turn % 2 else -1]:
                await one.work(inbox[at : at + each], outbox[at : at + each])
        for name, one in brokers.items():
            print(f"{one.cost()}  {name}")
    finally:
        for one in brokers.values():
            await one.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--records", type=int, default=3, help="outbox records of a transaction")
    parser.add_argument("--changed-records", type=int, help="the same, at the second broker")
    parser.add_argument("--client-codec", choices=("gzip", "snappy", "lz4", "zstd"))
    parser.add_argument("--public", choices=("gzip", "snappy", "lz4", "zstd"))
    parser.add_argument("--java", action="append", default=[], metavar="FLAG")
    parser.add_argument("--property", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), given))


if __name__ == "__main__":
    main()
