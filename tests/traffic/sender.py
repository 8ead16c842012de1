"""A sender that behaves as the provider documents: the same post again until it is answered 200."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.traffic.mails import Post


@dataclass(slots=True)
class Answers:
    """What the sender was told."""

    accepted_posts: int = 0
    accepted_events: int = 0
    """Answered 200, resends included."""
    refusals: int = 0
    """503, connections that broke, answers that did not come in time: each was sent again."""
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Seconds until 200, of each accepted post's last try."""


class UnexpectedAnswerError(Exception):
    """The endpoint answered what no well-formed post may be answered: the provider would discard the events."""


def with_resends(posts: Sequence[Post], *, share: float, seed: int = 1) -> list[Post]:
    """Put some posts in again further back, as a sender does that missed the answer."""
    chance = random.Random(seed)  # noqa: S311 - test data, no secrets
    placed = [(float(at), post) for at, post in enumerate(posts)]
    again = chance.sample(range(len(posts)), round(len(posts) * share))
    placed += [(at + chance.uniform(0.5, len(posts) / 4), posts[at]) for at in again]
    return [post for _, post in sorted(placed, key=lambda place: place[0])]


async def send(
    posts: Sequence[Post], url: str, *, connections: int = 8, patience: float = 30.0, pause: float = 0.2
) -> Answers:
    """Send all posts over some connections, each post until it is accepted.

    Written on bare streams, since the sender shares the machine with what it measures.

    Args:
        posts: sent in this order, as far as parallel connections keep one.
        url: the webhook endpoint, ``http://…``.
        connections: how many posts are under way at once.
        patience: seconds that an answer may take before the post is sent again.
        pause: seconds before a refused post is sent again.

    Raises:
        UnexpectedAnswerError: an answer that is neither 200 nor 503.
    """
    answers = Answers()
    queue = iter(posts)
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_connection(queue, url, answers, patience, pause))
    answers.seconds = time.monotonic() - began
    return answers


async def _connection(queue: Iterator[Post], url: str, answers: Answers, patience: float, pause: float) -> None:
    target = urlsplit(url)
    host, port = target.hostname or "127.0.0.1", target.port or 80
    head = f"POST {target.path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: "
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    for post in queue:
        request = b"".join((head.encode(), str(len(post.body)).encode(), b"\r\n\r\n", post.body))
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(patience):
                    if streams is None:
                        streams = await asyncio.open_connection(host, port)
                    status = await _exchange(*streams, request)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                status = 503
                if streams is not None:
                    streams[1].close()
                streams = None
            if status == 200:
                answers.accepted_posts += 1
                answers.accepted_events += post.events
                answers.latencies.append(time.monotonic() - began)
                break
            if status != 503:
                raise UnexpectedAnswerError(f"status {status} for a well-formed post")
            answers.refusals += 1
            await asyncio.sleep(pause)
    if streams is not None:
        streams[1].close()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))
    return status
