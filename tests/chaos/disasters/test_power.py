"""The machine loses its power, again and again: what was answered 200 is on the disk, and counts once.

`tests.chaos.mutations.test_guards` takes the writing through out, and sees the losses.
"""

from pathlib import Path

import psutil
import pytest

from deploy.embedded.kafka import EmbeddedKafka
from tests.chaos.campaign import Campaign, Form, Options
from tests.chaos.plan import EVERYTHING, Fault, Kind
from tests.chaos.power import disk_of_its_own
from tests.eventually import eventually


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("seed", "plan"),
    [
        (2, [Fault(at=6.0, kind=Kind.POWER, victim=EVERYTHING)]),
        (
            4,
            [
                Fault(at=4.0, kind=Kind.KILL, victim="kafka"),  # so that much is in the journal alone
                Fault(at=5.0, kind=Kind.POWER, victim=EVERYTHING),
                Fault(at=22.0, kind=Kind.POWER, victim=EVERYTHING),
                Fault(at=23.0, kind=Kind.POWER, victim=EVERYTHING),  # as soon as it is up again
            ],
        ),
    ],
    ids=["once", "again and again"],
)
async def test_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path, seed: int, plan: list[Fault]) -> None:
    options = Options(rounds=1, events=6_000, seconds=plan[-1].at + 4.0, form=Form.UP, plan=plan)

    outcome = await Campaign(tmp_path, seed, options).run()

    assert outcome.tally.faults[Kind.POWER] == sum(fault.kind is Kind.POWER for fault in plan), outcome.tally
    assert not outcome.found, outcome.found.examples


@pytest.mark.timeout(300)
async def test_kafka_comes_up_again_when_its_first_start_was_a_moment_ago(tmp_path: Path) -> None:
    async with disk_of_its_own(tmp_path / "disk", keep=lambda: False) as disk:
        broker = EmbeddedKafka(data=disk.folder / "kafka")
        await broker.start()
        process = psutil.Process(broker.pid)
        process.kill()
        await broker.stop()

        async def is_gone() -> bool:
            return not process.is_running()

        await eventually(is_gone)
        await disk.lose_power()
        await broker.start()
        await broker.stop()
