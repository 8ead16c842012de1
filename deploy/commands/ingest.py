"""``todoke ingest``: the role that takes webhooks."""

import click
from prometheus_client import REGISTRY

from deploy.commands.options import KAFKA, Invocation, common_options
from deploy.roles import Running, run_role
from ingest.role import IngestRole
from ingest.settings import check


@click.command("ingest")
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 picks one.  [default: 8080]")
@click.option("--until-idle", is_flag=True, help="End as soon as all posts are decided.")
@common_options
def command(invocation: Invocation, *, host: str | None, port: int | None, until_idle: bool) -> int:
    r"""Take webhooks over HTTP and make them durable in Kafka.

    Serves /healthz, /readyz and /metrics beside the endpoints, and describes them in /openapi.json. Run as many as
    you like, behind a load balancer. Only on loopback may a source be without a secret.

    \b
    Examples:
      todoke ingest
      todoke ingest --host 0.0.0.0 --port 8080 --config /etc/todoke.toml
      TODOKE_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 todoke ingest
    """
    environment = invocation.environment({("ingest", "host"): host, ("ingest", "port"): port}, needs=(KAFKA,))
    invocation.start_logging(environment, "ingest")
    settings = environment.settings
    with environment.locating():
        check(settings.ingest, settings.sources)
    running = Running(name="ingest", stop_deadline=settings.stop.deadline, admin=None, until_idle=until_idle)
    return run_role(
        lambda: IngestRole(
            settings=settings.ingest,
            sources=settings.sources,
            kafka=settings.kafka,
            topics=settings.topics.topics(),
            registry=REGISTRY,
        ),
        running,
    )
