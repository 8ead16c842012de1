"""``todoke send``: recorded payloads, posted as their provider would."""

import asyncio
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import click

from deploy.commands.options import INGEST, Invocation, common_options
from deploy.ports import http_url, reachable
from deploy.posting import Form, Payload, form_of, post, signed
from deploy.settings import Settings
from ingest.settings import SourceSettings
from streams.contracts.clock import SystemClock
from streams.contracts.errors import ConfigurationError

STDIN = "-"
ENDPOINT = re.compile(r"/v1/(?:webhooks|events)\b")
"""What stands behind the address of a server where posts go."""


def _checked_url(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    if given is None:
        return None
    if ENDPOINT.search(given):
        raise click.BadParameter(f"{given} names an endpoint: leave out what begins at /v1/, and say --source NAME")
    try:
        url = urlsplit(given)
        if url.scheme in {"http", "https"} and url.hostname and url.port != 0:
            return given
    except ValueError:  # a port that is none, say
        pass
    raise click.BadParameter(f"{given} is no address of a server: give one like https://todoke.example.com:8080")


@click.command("send")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--source", metavar="NAME", help="Source to post as.  [default: the first one configured]")
@click.option(
    "--url", metavar="URL", callback=_checked_url, help="Where todoke listens.  [default: the pipeline that runs here]"
)
@click.option(
    "--form",
    type=click.Choice([form.value for form in Form]),
    help="Form of the payload, where the file's name does not tell.",
)
@click.option(
    "--patience", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds to keep trying."
)
@common_options
def command(
    invocation: Invocation,
    *,
    files: tuple[str, ...],
    source: str | None,
    url: str | None,
    form: str | None,
    patience: float,
) -> None:
    r"""Post recorded payloads as the provider would and print the receipt of each, and how much of it is unreadable.

    A file's name tells its form: .json and .form are a provider's posts, .ndjson is events in todoke's own form, one
    a line. - reads standard input. The source's first secret is added, as the provider adds it. A post that the
    endpoint cannot take now is sent again after the time that it asks for.

    \b
    Examples:
      todoke send deliveries.json bounces.form
      todoke send --source shop --url https://todoke.example.com deliveries.json
      echo '{"type":"delivered","recipient":"user@example.com","occurred_at":"2026-03-02T09:00:04Z"}' |
        todoke send --form ndjson -
    """
    environment = invocation.environment(needs=() if url else (INGEST,))
    settings = environment.settings
    name = source or next(iter(settings.sources))
    payloads = [_payload(file, form) for file in files]
    address, dead_letters = url or _address(settings), f"{settings.clickhouse.database}.dead_letters"
    asyncio.run(
        _send(payloads, name, _configured(settings, name, url), address, patience=patience, dead_letters=dead_letters)
    )


async def _send(
    payloads: list[Payload], name: str, source: SourceSettings, url: str, *, patience: float, dead_letters: str
) -> None:
    clock = SystemClock()
    async with aiohttp.ClientSession() as session:
        for payload in payloads:
            body, headers = signed(payload, source)
            path = f"/v1/events?source={name}" if payload.form is Form.NDJSON else f"/v1/webhooks/{name}"
            endpoint = url.rstrip("/") + path
            again = _Telling(patience)
            receipt = await post(session, endpoint, body, headers, patience=patience, clock=clock, again=again)
            unreadable = f", {receipt.unreadable} unreadable: see {dead_letters}" if receipt.unreadable else ""
            click.echo(f"{receipt.receipt}  {receipt.accepted:>6} accepted{unreadable}  {payload.name}")


class _Telling:
    """Tells why a post is not taken yet: once, and when that changes."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._told = ""

    def __call__(self, trouble: str, pause: float) -> None:  # noqa: ARG002 - as `post` tells it
        """Take it that one more try failed."""
        if trouble != self._told:
            self._told = trouble
            click.echo(f"todoke: not taken yet ({trouble}); trying for up to {self._patience:g} s", err=True)


def _payload(file: str, form: str | None) -> Payload:
    if file == STDIN:
        body = sys.stdin.buffer.read() if sys.stdin else b""  # it may be closed
        if not body.strip():
            raise ConfigurationError("standard input is empty: pipe a payload into it, or name its file")
        return Payload(name="standard input", form=Form(form) if form else form_of("", body), body=body)
    path = Path(file)
    try:
        body = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    return Payload(name=file, form=Form(form) if form else form_of(path.name, body), body=body)


def _configured(settings: Settings, name: str, url: str | None) -> SourceSettings:
    source = settings.sources.get(name)
    if source is None and url is None:
        raise ConfigurationError(f"there is no source {name}; there is: {', '.join(settings.sources)}")
    return source or SourceSettings()


def _address(settings: Settings) -> str:
    return http_url(reachable(settings.ingest.host), settings.ingest.port)
