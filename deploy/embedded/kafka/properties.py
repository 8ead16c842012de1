"""The broker's configuration for one small machine.

Names and defaults: https://kafka.apache.org/43/configuration/broker-configs/
"""

from collections.abc import Mapping

from deploy.embedded.kafka.room import INDEX_BYTES
from streams.contracts.topics import OUTBOX_LIMIT

LOOPBACK = "127.0.0.1"
NODE_ID = 1

_MB = 1024 * 1024


def server_properties(*, port: int, controller_port: int) -> dict[str, str]:
    """Describe one KRaft node that is broker and controller, on loopback only.

    What it acknowledges is on the disk, since there is no replica that would have it: a loss of power takes
    what only the kernel has. That goes for every topic, Kafka's own two included. A transaction is spread over the
    topics that it writes to, the positions that move with it and the state of its producer; each of them written by
    itself at some later time would come back from a different moment.

    Args:
        port: where clients connect.
        controller_port: where the broker talks to its own controller.
    """
    settings: dict[str, str | int] = {
        # One node. A fixed voter: its port may change with every start, and a voter set kept in the log would not.
        "process.roles": "broker,controller",
        "node.id": NODE_ID,
        "controller.quorum.voters": f"{NODE_ID}@{LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        # Relative to the data folder, in which the broker runs: a path with a comma would be read as two folders.
        "log.dirs": "topics",
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "log.flush.interval.messages": 1,
        "auto.create.topics.enable": "false",
        # Kafka's own topics: few partitions to open, small segments to read at a start.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 8,
        "offsets.topic.segment.bytes": 4 * _MB,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 8,
        "transaction.state.log.segment.bytes": 4 * _MB,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # A sink's intent lives in its committed offset; a pipeline that rests for some weeks must find it again.
        "offsets.retention.minutes": 10 * 365 * 24 * 60,
        # No waiting for further members: there are few, and a start should be quick.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1_000,
        # It is its own controller, and must not lose all partitions since it was frozen for some seconds. After a kill
        # the controller alone ends the session, see `controller_properties`.
        "broker.session.timeout.ms": 30_000,
        "broker.heartbeat.interval.ms": 500,
        # Twice a second an empty record to the disk tells other controllers that this one lives; there are none.
        "metadata.max.idle.interval.ms": 0,
        # A transaction whose owner died holds up readers of committed records.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1_000,
        # After a kill, the last segment of each partition is read to check it, so a segment's size bounds the wait.
        "log.segment.bytes": 128 * _MB,
        # All of it is given a place on the disk before a start, see `deploy.embedded.kafka.room`; 10 MB by default.
        "log.index.size.max.bytes": INDEX_BYTES,
        "num.recovery.threads.per.data.dir": 2,
        # The largest record of the pipeline fits, with room for its key and headers.
        "message.max.bytes": OUTBOX_LIMIT + 64 * 1024,
        "replica.fetch.max.bytes": OUTBOX_LIMIT + 64 * 1024,
        # Requests wait in the heap; past this many bytes the broker leaves them in the sockets.
        "socket.request.max.bytes": 64 * _MB,
        "queued.max.request.bytes": 64 * _MB,
        # Taken from the heap at the start, 128 MB by default. 16 MB hold 600,000 keys a pass; more take more passes.
        "log.cleaner.dedupe.buffer.size": 16 * _MB,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "group.coordinator.threads": 1,
        "share.coordinator.threads": 1,
        # Nobody reads them, and the default publishes them all through JMX.
        "metric.reporters": "",
    }
    return {name: str(value) for name, value in settings.items()}


def controller_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """Describe the controller of that node alone, which soon takes a broker that it does not hear of for gone.

    It writes that down at once, since it is ended as soon as it has logged it.

    Args:
        properties: of the whole node.
    """
    _, _, controller = properties["listeners"].partition(",")
    rest = {name: value for name, value in properties.items() if name != "advertised.listeners"}
    soon = {
        "broker.session.timeout.ms": "100",
        "broker.heartbeat.interval.ms": "50",
        "controller.quorum.append.linger.ms": "0",
    }
    return rest | {"process.roles": "controller", "listeners": controller} | soon


def render(properties: Mapping[str, str]) -> str:
    """Write properties in Java's form, one ``name=value`` a line.

    Raises:
        ValueError: a value that the form would have to escape.
    """
    for name, value in properties.items():
        if not value.isascii() or not value.isprintable() or "\\" in value:
            raise ValueError(f"{name} has a value that cannot be written plainly: {value!r}")
    return "".join(f"{name}={value}\n" for name, value in properties.items())
