"""``todoke kafka``: the embedded broker alone."""

from pathlib import Path

import click

from deploy.commands.options import Invocation, common_options
from deploy.embedded.kafka import EmbeddedKafka
from deploy.embedded_role import EmbeddedRole
from deploy.roles import Running, run_role


@click.command("kafka")
@click.option("--port", type=click.IntRange(0, 65535), default=9092, show_default=True, help="0 picks a free one.")
@click.option(
    "--controller-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Where Kafka's controller listens. 0 picks a free one.",
)
@common_options
def command(invocation: Invocation, *, port: int, controller_port: int) -> int:
    r"""Run Apache Kafka alone on this machine, on loopback, with its data below the data folder.

    `todoke up` runs it this way; use it alone for other things than todoke's own.

    \b
    Example:
      todoke kafka --data /tmp/try --port 9092
    """
    environment = invocation.environment(own=True)
    invocation.start_logging(environment, "kafka")
    folder: Path = invocation.data / "kafka"
    settings = environment.settings
    broker = EmbeddedKafka(
        data=folder,
        port=port,
        heap=settings.local.kafka_heap,
        controller_port=controller_port,
        start_within=settings.local.start_deadline,
    )
    running = Running(name="kafka", stop_deadline=settings.stop.deadline, admin=None)
    return run_role(lambda: EmbeddedRole("Kafka", broker), running)
