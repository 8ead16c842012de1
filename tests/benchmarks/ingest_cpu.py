"""What one event costs ingest, in microseconds of one core, from the bytes of a body to the bytes of chunks.

    python -m tests.benchmarks.ingest_cpu [--events 100000] [--batch 100]

HTTP and Kafka's client are left out; `tests/benchmarks/pipeline.py` measures them with everything else.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

import msgspec
import orjson

from ingest.harvest import Context, Provider
from ingest.packing import chunk, pack
from ingest.posts import Post
from ingest.providers.customers_mail_cloud import CustomersMailCloud
from ingest.providers.generic import Generic
from ingest.settings import Batching, SourceSettings
from tests.traffic.mails import traffic

RECEIPT = "0" * 32
RECEIVED_AT = "2026-03-02T00:00:00.000Z"
SHARDS = 4
ROUNDS = 5


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=50_000)
    arguments.add_argument("--batch", type=int, default=100)
    given = arguments.parse_args()
    asyncio.run(_measure(given.events, given.batch))


async def _measure(events: int, batch: int) -> None:
    posts = [post.body for post in traffic(events, batch=batch).posts]
    trees = [orjson.loads(body) for body in posts]
    forms = [urlencode(tree | {"event": orjson.dumps(tree["event"])}).encode() for tree in trees]
    cmc = CustomersMailCloud()
    harvests = [cmc.harvest(cmc.unpack(body, "application/json"), _context()) for body in posts]
    lines = [msgspec.json.Encoder().encode_lines(harvest.events) for harvest in harvests]
    count = sum(len(harvest.events) for harvest in harvests)
    _report("parse alone (orjson.loads of the body)", count, lambda: [orjson.loads(body) for body in posts])
    _report("JSON: parse, map, identify", count, lambda: _harvest(cmc, posts, "application/json"))
    _report("JSON: all, to chunks", count, lambda: _chunks(cmc, posts, "application/json"))
    form = "application/x-www-form-urlencoded"
    _report("form: all, to chunks", count, lambda: _chunks(cmc, forms, form))
    _report("own form, NDJSON: all, to chunks", count, lambda: _chunks(Generic(), lines, "application/x-ndjson"))


def _report(what: str, events: int, work: Callable[[], object]) -> None:
    best = min(_seconds(work) for _ in range(ROUNDS))
    print(f"{best / events * 1e6:6.2f} µs  {what}")


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _context() -> Context:
    return Context(
        source="cmc",
        provider="customers-mail-cloud",
        zone=SourceSettings().zone,
        receipt=RECEIPT,
        received_at=RECEIVED_AT,
        max_events=100_000,
    )


def _harvest(provider: Provider, bodies: Sequence[bytes], content_type: str) -> None:
    for body in bodies:
        provider.harvest(provider.unpack(body, content_type), _context())


def _chunks(provider: Provider, bodies: Sequence[bytes], content_type: str) -> None:
    for body in bodies:
        post = Post(receipt=RECEIPT, source="cmc", received_at=RECEIVED_AT, on_settled=lambda: None)
        harvest = provider.harvest(provider.unpack(body, content_type), _context())
        for piece in pack(harvest, post, shards=SHARDS, batching=Batching(), version="0"):
            chunk([piece])


if __name__ == "__main__":
    main()
