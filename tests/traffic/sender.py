"""A sender that behaves as the provider documents: the same post again until it is answered 200."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.traffic.chance import chance
from tests.traffic.connection import FAILURES, Connection
from tests.traffic.mails import Post
from tests.traffic.wire import JSON


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
    draw = chance("resends", seed)
    placed = [(float(at), post) for at, post in enumerate(posts)]
    again = draw.sample(range(len(posts)), round(len(posts) * share))
    placed += [(at + draw.uniform(0.5, len(posts) / 4), posts[at]) for at in again]
    return [post for _, post in sorted(placed, key=lambda place: place[0])]


async def send(
    posts: Sequence[Post], url: str, *, connections: int = 8, patience: float = 30.0, pause: float = 0.2
) -> Answers:
    """Send all posts over some connections, each post until it is accepted.

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
    connection = Connection(url)
    for post in queue:
        while True:
            began = time.monotonic()
            try:
                status = (await connection.post(post.body, JSON, patience=patience)).status
            except FAILURES:
                status = 503
            if status == 200:
                answers.accepted_posts += 1
                answers.accepted_events += post.events
                answers.latencies.append(time.monotonic() - began)
                break
            if status != 503:
                raise UnexpectedAnswerError(f"status {status} for a well-formed post")
            answers.refusals += 1
            await asyncio.sleep(pause)
    connection.close()
