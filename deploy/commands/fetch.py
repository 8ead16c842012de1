"""``todoke fetch``: what ``todoke up`` needs from the network, ahead of time."""

import asyncio

import click

from deploy.fetching import fetch_broker


@click.command("fetch")
def command() -> None:
    r"""Fetch Apache Kafka's jars into the user's cache folder, once, each checked by its SHA-256.

    Java's classes are archived beside them, so that Kafka starts quickly.

    `todoke up` does that itself at its first start; afterwards it needs no network.

    \b
    Example:
      todoke fetch
    """
    asyncio.run(fetch_broker())
    click.echo("Kafka is in place")
