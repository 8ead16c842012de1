"""Replaying dead letters from real tables."""

import json

import aiohttp

from deploy.dead_letters import Selection
from deploy.replay import Replay
from deploy.settings import Settings
from streams.contracts.clock import SystemClock

AT = "2026-01-25 05:06:07.000"
LETTERS, EVENTS = 100, 100


async def insert(settings: Settings, table: str, rows: list[dict[str, object]]) -> None:
    connection = settings.clickhouse
    async with aiohttp.ClientSession(f"http://{connection.host}:{connection.port}") as session:
        query = f"insert into {connection.database}.{table} format JSONEachRow\n"
        async with session.post("/", data=query + "\n".join(map(json.dumps, rows))) as answer:
            assert answer.status == 200, await answer.text()


def body(number: int) -> str:
    return json.dumps(
        [
            {"type": "delivered", "recipient": f"{number}-{event}@example.com", "occurred_at": "2026-01-25T05:06:07Z"}
            for event in range(EVENTS)
        ]
    )


async def test_letters_of_more_events_than_one_query_may_name_are_replayed(settings: Settings) -> None:
    letters: list[dict[str, object]] = [
        {
            "receipt": f"{number:032x}", "number": 0, "part": 0, "parts": 1, "source": "cmc", "reason": "body_shape",
            "topic": "", "partition": -1, "offset": -1, "received_at": AT, "raw": body(number),
        }
        for number in range(LETTERS)
    ]  # fmt: skip
    for begin in range(0, LETTERS, 20):
        await insert(settings, "dead_letters", letters[begin : begin + 20])

    replay = Replay(settings=settings, clock=SystemClock(), dry_run=False)
    await replay.run(Selection(), again=False)
    (tally,) = replay.tallies.values()
    assert (tally.letters, tally.readable, tally.events, tally.known) == (LETTERS, LETTERS, LETTERS * EVENTS, 0)
