"""The seeds of the fault machine that once failed, each for a reason that is mended: ``make seeds``, some minutes each.

A seed draws the same traffic and the same faults at the same moments; what they hit depends on the machine. What each
of them found has a test of its own besides, which does not.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign, Form, Options
from tests.chaos.plan import Kind


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A seed, how it was run, and what it found."""

    seed: int
    form: Form
    pause: float = 3.0
    kinds: tuple[Kind, ...] = ()
    found: str


SEEDS = (
    Failed(seed=1, form=Form.FLEET, found="the view of suppressions showed addresses that were lifted"),
    Failed(seed=2, form=Form.UP, found="the view of suppressions showed addresses that were lifted"),
    Failed(seed=41, form=Form.FLEET, found="a worker behind a half-open network did not end"),
    Failed(seed=8002, form=Form.UP, pause=1.2, found="Kafka deleted logs when it was started on a full disk"),
    Failed(
        seed=12002,
        form=Form.FLEET,
        pause=1.2,
        kinds=tuple(Kind),
        found="after a loss of power a position was from another moment than what lay before it",
    ),
    Failed(
        seed=14001,
        form=Form.FLEET,
        pause=1.2,
        kinds=tuple(Kind),
        found="after a loss of power ClickHouse lacked what it had merged, and did not know the tokens of what it had",
    ),
    Failed(
        seed=15003,
        form=Form.FLEET,
        pause=1.2,
        kinds=tuple(Kind),
        found="Kafka, started after a kill, left the end of a transaction unwritten in partitions without a leader",
    ),
    Failed(
        seed=16104,
        form=Form.UP,
        pause=1.2,
        kinds=tuple(kind for kind in Kind if kind not in {Kind.EXTRA, Kind.CLOCK, Kind.NETWORK}),
        found="Kafka began although the controller had been killed that was to end the session of its former self",
    ),
)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("once", SEEDS, ids=lambda once: str(once.seed))
async def test_a_seed_that_once_failed(tmp_path: Path, once: Failed) -> None:
    options = Options(rounds=3, events=10_000, seconds=40.0, pause=once.pause, form=once.form, kinds=once.kinds)

    outcome = await Campaign(tmp_path, once.seed, options).run()

    assert not outcome.found, (once.found, outcome.found.examples)
    assert outcome.ledger.accepted
