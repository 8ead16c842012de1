"""The fault machine for as long as a test may take: every part killed once, and the worst of the rest."""

from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign, Form, Options
from tests.chaos.plan import EVERYTHING, SERVERS, Fault, Kind
from tests.chaos.proxy import Weather
from tests.traffic.running import ROLES

SEED = 7
KILLS = tuple(
    Fault(at=1.0 + 3.0 * number, kind=Kind.KILL, victim=victim)
    for number, victim in enumerate(("worker", "kafka", "sink-clickhouse", "ingest", "clickhouse", "sink-topics"))
)
UP = (
    *KILLS,
    Fault(at=8.0, kind=Kind.STALE_ANSWER, victim="worker"),
    Fault(at=10.0, kind=Kind.REDELIVERY, victim="worker"),
    Fault(at=20.0, kind=Kind.KILL_ALL, victim=EVERYTHING),
    Fault(at=22.0, kind=Kind.POISON, victim="worker"),
)
FLEET = (
    Fault(at=1.0, kind=Kind.FREEZE, victim="worker-1", seconds=10.0),
    Fault(at=2.0, kind=Kind.NETWORK, victim=EVERYTHING, server="clickhouse", weather=Weather.UNANSWERED, seconds=4.0),
    Fault(at=4.0, kind=Kind.NETWORK, victim="sink-topics-1", server="kafka", weather=Weather.CUT, seconds=5.0),
    Fault(at=5.0, kind=Kind.EXTRA, victim="worker", seconds=5.0),
    Fault(at=8.0, kind=Kind.FREEZE, victim="sink-clickhouse-1", seconds=8.0),
    Fault(at=9.0, kind=Kind.NETWORK, victim="worker-2", server="kafka", weather=Weather.HALF_OPEN, seconds=3.0),
    Fault(at=12.0, kind=Kind.NETWORK, victim="ingest-1", server="kafka", weather=Weather.LATE, seconds=4.0),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("form", "plan"), [(Form.UP, UP), (Form.FLEET, FLEET)])
async def test_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path, form: Form, plan: tuple[Fault, ...]) -> None:
    options = Options(rounds=1, events=4_000, seconds=24.0, form=form, plan=plan)

    outcome = await Campaign(tmp_path, SEED, options).run()

    assert not outcome.found, outcome.found.examples
    assert len(outcome.ledger.accepted) > options.events // 2


def test_every_part_is_killed() -> None:
    parts = {*ROLES, *SERVERS}

    assert {fault.victim for fault in UP if fault.kind in {Kind.KILL, Kind.KILL_ALL}} == {*parts, EVERYTHING}
