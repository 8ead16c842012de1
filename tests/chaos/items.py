"""The events of one round, each with the moment when it arises."""

from collections.abc import Iterator

from tests.traffic.chance import chance
from tests.traffic.provider import WEBHOOKS, Item, item
from tests.traffic.rough import rough_history

SHARES = (6, 3, 1)
"""How much of the mail goes by each of the provider's webhook settings."""
MAILS_PER_ROUND = 10_000_000
"""More than any round has, so that no number is used twice."""


def draw_items(seed: int, rounds: int, *, events: int, seconds: float) -> list[list[Item]]:
    """Draw the events of some rounds, about so many in each.

    What happens to one mail stays in its order in time mostly, but what comes late may come in a later round.
    """
    planned: list[list[Item]] = [[] for _ in range(rounds)]
    for number in range(rounds):
        for one, late in _round(seed, number, events, seconds):
            planned[min(number + late, rounds - 1)].append(one)
    return planned


def _round(seed: int, number: int, events: int, seconds: float) -> Iterator[tuple[Item, int]]:
    """Yield each event and how many rounds it is late."""
    draw = chance("items", seed, number)
    made = 0
    while made < events:
        (webhook,) = draw.choices(WEBHOOKS, SHARES)
        at = draw.uniform(0, seconds)
        for moment in rough_history(seed, number * MAILS_PER_ROUND + made):
            if moment.kind == "blocks" and webhook.version == 1:
                continue
            late = moment.record.get("reason") == "late bounce"
            yield item(webhook, moment.kind, moment.record, min(at, seconds)), int(late and draw.random() < 0.5)
            at += draw.expovariate(1.0)
            made += 1
