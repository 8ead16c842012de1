"""Records in the inbox that nobody can work with, put there by hand: the fold must fail on them and go on."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.contracts.zstd import zstd

INBOX = "mail.inbox"
PATIENCE_MS = 3_000
FORMS = (
    b"not a record",
    b'{"form":1}\n',
    b'{"form":99,"sections":{}}\n',
    b'{"form":1,"sections":{"events":9999999}}\n{}\n',
    b'{"form":1,"sections":{"receipts":3}}\n{}\n',
    b'{"form":1,"sections":{"receipts":10,"events":3}}\n"no lines"\n{}\n',
    b"\xff\xfe\x00\n\n",
    b'{"form":3,"sections":{"events":6}}\n' + zstd.compress(b"{}\n{}\n"),  # more follows, see `poison`
    b'{"form":3,"sections":{"events":67108864}}\n' + zstd.compress(bytes(1 << 26)),
    b'{"form":3,"sections":{"events":6}}\n' + bytes.fromhex("28b52ffd00780100007b7d0a"),  # of a window of 32 MB
)
"""What is not a chunk, or one whose inside is none."""


@dataclass(slots=True)
class Poisoned:
    """What was put into the inbox."""

    surely: Counter[bytes] = field(default_factory=Counter)
    """Acknowledged."""
    perhaps: Counter[bytes] = field(default_factory=Counter)
    """Not acknowledged, and perhaps there all the same."""

    def __bool__(self) -> bool:
        return bool(self.surely or self.perhaps)

    def wrong(self, kept: Sequence[bytes]) -> list[str]:
        """Tell what is wrong with dead letters: each poison must be kept, and nothing but poison."""
        there = Counter(kept)
        few = [
            f"{raw!r} is kept {there[raw]} times of {count}" for raw, count in self.surely.items() if there[raw] < count
        ]
        most = self.surely + self.perhaps
        many = [
            f"{raw!r} is kept {n} times, {most[raw]} at most were made" for raw, n in there.items() if n > most[raw]
        ]
        return few + many


async def poison(bootstrap_servers: str, draw: random.Random, poisoned: Poisoned) -> None:
    """Put one of the forms into some partition of the inbox.

    Raises:
        LookupError: Kafka does not answer.
    """
    raw = draw.choice(FORMS) + b"%x" % draw.getrandbits(32)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", request_timeout_ms=PATIENCE_MS)
    try:
        await producer.start()
        poisoned.perhaps[raw] += 1
        partitions = sorted(await producer.partitions_for(INBOX))
        await producer.send_and_wait(INBOX, raw, partition=draw.choice(partitions))
        poisoned.perhaps[raw] -= 1
        poisoned.surely[raw] += 1
    except (KafkaError, OSError) as error:
        raise LookupError("Kafka does not answer") from error
    finally:
        await producer.stop()
