"""Which faults come when: drawn from the seed alone, so that the same seed breaks the same things."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.traffic.chance import chance

ROLES = ("ingest", "worker", "sink-clickhouse", "sink-topics")
SERVERS = ("kafka", "clickhouse")
PARTS = (*ROLES, *SERVERS)
EVERYTHING = "everything"


class Kind(StrEnum):
    """What is done to the pipeline."""

    KILL = "kill -9"
    """Of one part, with all processes that it started."""

    KILL_CHILD = "kill -9 of a server's child"
    """Of the server program alone; the process that watches over it lives."""

    TERMINATE = "SIGTERM"
    """Of one part, as a service manager would."""

    KILL_ALL = "kill -9 of everything"
    RESTART = "restart of everything"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault."""

    at: float
    """Seconds from the beginning of the round."""
    kind: Kind
    victim: str


WEIGHTS = {Kind.KILL: 12, Kind.KILL_CHILD: 3, Kind.TERMINATE: 4, Kind.KILL_ALL: 2, Kind.RESTART: 1}
"""How often each kind is drawn, compared with the others."""

VICTIMS: dict[Kind, Sequence[str]] = {
    Kind.KILL: PARTS,
    Kind.KILL_CHILD: SERVERS,
    Kind.TERMINATE: PARTS,
    Kind.KILL_ALL: (EVERYTHING,),
    Kind.RESTART: (EVERYTHING,),
}


def draw_plan(seed: object, *, seconds: float, pause: float) -> list[Fault]:
    """Draw the faults of one round.

    Args:
        seed: what is drawn depends on it alone.
        seconds: length of the round.
        pause: seconds between two faults on average; some overlap.
    """
    draw = chance("plan", seed)
    faults = []
    at = draw.uniform(0.5, 3.0)
    while at < seconds:
        (kind,) = draw.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))
        faults.append(Fault(at=at, kind=kind, victim=draw.choice(VICTIMS[kind])))
        at += draw.expovariate(1 / pause)
    return faults
