"""What the worker's fold costs: microseconds per event, bytes per open lifecycle, seconds to load.

    python tests/benchmarks/correlation_cpu.py [lifecycles]

Events have about 600 bytes and come in chunks of 1,000, one, two or three per mail; the histories of mails are mixed as
a busy sender's are.
"""

import hashlib
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator

import cramjam
import orjson

from streams.answer import answer, found
from streams.contracts.codec import decode, encode
from streams.contracts.sections import Inbox, ReceiptPart
from streams.inbox import InboxRecord
from streams.state import PartitionState

CHUNK_EVENTS = 1000
AT = "2026-03-02T00:00:05.000Z"
TYPES = ("queued", "delivered", "bounced")


def event(mail: int, step: int) -> dict[str, str]:
    """Make the event of a mail's history, filled like the provider's."""
    type_ = TYPES[step]
    bounced = type_ == "bounced"
    return {
        "id": hashlib.md5(f"{mail}/{step}".encode(), usedforsecurity=False).hexdigest(),
        "source": "cmc",
        "provider": "customers-mail-cloud",
        "composition": "pro",
        "type": type_,
        "provider_status": "2" if bounced else type_,
        "message_id": f"{mail:08x}-{mail * 7919:012x}@mta{mail % 7:02d}.example.com",
        "recipient": f"user{mail * 31}@example.jp",
        "sender": "info@example.com",
        "return_path": "info@return.pro.smtps.jp",
        "subject": "メールマガジンのテスト",
        "reason": "550 5.1.1 The email account that you tried to reach does not exist." if bounced else "",
        "api_data": f"campaign-{mail % 50}",
        "source_ip": "",
        "sender_ip": "192.0.2.17",
        "bounce_code": "2" if bounced else "",
        "bounce_class": "hard" if bounced else "",
        "bounce_reason": "unknown_user" if bounced else "",
        "occurred_at": f"2026-03-02T00:{mail // 60 % 60:02d}:{mail % 60:02d}.{step:03d}Z",
        "occurred_raw": "2026-03-02 09:00:00",
        "received_at": AT,
        "receipt": f"{mail // 100:032x}",
    }


def chunks(mails: int, steps: int) -> Iterator[bytes]:
    """Cut the histories of mails, mixed within some thousand mails, into chunks."""
    history = [(mail, step) for mail in range(mails) for step in range(steps)]
    chance = random.Random(1)  # noqa: S311 - test data, no secrets
    history.sort(key=lambda one: one[0] + chance.random() * 4000 + one[1])
    for at in range(0, len(history), CHUNK_EVENTS):
        events = [event(*one) for one in history[at : at + CHUNK_EVENTS]]
        counted: dict[str, int] = {}
        for one in events:
            counted[one["receipt"]] = counted.get(one["receipt"], 0) + 1
        receipts = [
            ReceiptPart(receipt=receipt, source="cmc", received_at=AT, accepted=100, events=count, dead_letters=0)
            for receipt, count in counted.items()
        ]
        sections: dict[str, bytes] = {
            Inbox.EVENTS: b"".join(orjson.dumps(one) + b"\n" for one in events),
            Inbox.RECEIPTS: b"".join(orjson.dumps(one) + b"\n" for one in receipts),
        }
        yield encode({}, sections)


def run(mails: int, steps: int) -> list[bytes]:
    """Fold all chunks, print the cost, give the outbox."""
    inbox = [
        InboxRecord(topic="inbox", shard=0, offset=offset, at=AT, value=value)
        for offset, value in enumerate(chunks(mails, steps))
    ]
    state = PartitionState(horizon_hours=24)
    outbox = [found(-1, None, AT, [])]
    state.apply(decode(outbox[0]))
    started = time.process_time()
    for record in inbox:
        told = answer(record, state, [], "benchmark")
        state.apply(told.record, told.keys)
        outbox.append(told.value)
    cost = (time.process_time() - started) / (mails * steps)
    bytes_in = sum(len(record.value) for record in inbox) / (mails * steps)
    bytes_out = sum(map(len, outbox)) / (mails * steps)
    print(f"{steps} events a mail: {cost * 1e6:.2f} µs/event, {bytes_in:.0f} bytes/event in, {bytes_out:.0f} out")
    return outbox


def load(outbox: list[bytes]) -> None:
    """Load the outbox, print how long it took and what it holds."""
    started = time.process_time()
    state = PartitionState(horizon_hours=24)
    for value in outbox:
        state.apply(decode(value))
    seconds = time.process_time() - started
    print(f"  loaded {state.open_lifecycles} lifecycles from {len(outbox)} records in {seconds:.2f} s")
    del state
    tracemalloc.start()
    state = PartitionState(horizon_hours=24)
    for value in outbox:
        state.apply(decode(value))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    print(f"  {held / state.open_lifecycles:.0f} bytes of memory per open lifecycle")


def lz4(value: bytes) -> bytes:
    """Compress as aiokafka does, at level 9."""
    compressor = cramjam.lz4.Compressor(level=9)
    compressor.compress(value)
    return bytes(compressor.finish())


def compress(outbox: list[bytes]) -> None:
    """Print what compressing the outbox would cost and give, with the levels that aiokafka has."""
    total = sum(map(len, outbox))
    squeezers: dict[str, Callable[[bytes], bytes]] = {
        "lz4": lz4,
        "zstd": lambda value: bytes(cramjam.zstd.compress(value, level=3)),
        "snappy": lambda value: bytes(cramjam.snappy.compress_raw(value)),
        "gzip": lambda value: bytes(cramjam.gzip.compress(value, level=9)),
    }
    for name, squeeze in squeezers.items():
        started = time.process_time()
        squeezed = sum(len(squeeze(value)) for value in outbox)
        seconds = time.process_time() - started
        print(f"  {name}: {seconds / total * 1e9:.2f} ns/byte, to {squeezed / total:.1%}")


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    for per_mail in (1, 2, 3):
        written = run(number, per_mail)
        load(written)
        if per_mail == 2:
            compress(written[:100])
