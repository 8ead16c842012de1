"""Which faults come when: drawn from the seed alone, so that the same seed breaks the same things."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.proxy import CLICKHOUSE, KAFKA, Weather
from tests.traffic.chance import chance

SERVERS = ("kafka", "clickhouse")
DISKS = (*SERVERS, "journal")
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

    FREEZE = "SIGSTOP, later SIGCONT"
    """Of one part, mostly for longer than its session in Kafka lasts: it comes back as a zombie."""

    EXTRA = "another role joins and leaves"
    """Which rebalances twice."""

    POISON = "poison in the inbox"
    """A record that nobody can work with; it must end as a dead letter, and nothing else with it."""

    REDELIVERY = "a chunk comes again"
    """A copy of an inbox record behind all others, as a sender's retry or a mirror may leave it."""

    STALE_ANSWER = "an answer comes again"
    """A copy of an outbox record behind all others: what a worker writes that has lost its partition."""

    DISK_FULL = "disk full"
    """Of one server, or of ingest's journal, for a while. Only where disks can be mounted."""

    POWER = "loss of power"
    """Of the whole machine. Only where `tests.chaos.power` has the data on a disk of its own."""

    CLOCK = "clock set wrong, later right"
    """Of one part, by hours or days. Only where `tests.chaos.clocks` finds its library."""

    NETWORK = "network"
    """Between one role, or all of them, and a server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault."""

    at: float
    """Seconds from the beginning of the round."""
    kind: Kind
    victim: str
    seconds: float = 0.0
    """That it lasts, where it lasts."""
    hours: float = 0.0
    """That a clock goes ahead; negative if it is behind."""
    server: str = ""
    """At the other end of a network."""
    weather: Weather = Weather.FAIR

    @property
    def name(self) -> str:
        """Tell the kind for people."""
        match self.kind:
            case Kind.NETWORK:
                return f"{self.server} {self.weather}"
            case Kind.DISK_FULL:
                return f"{self.victim} disk full"
            case _:
                return str(self.kind)


WEIGHTS = {
    Kind.KILL: 12,
    Kind.KILL_CHILD: 3,
    Kind.TERMINATE: 4,
    Kind.KILL_ALL: 2,
    Kind.RESTART: 1,
    Kind.FREEZE: 4,
    Kind.EXTRA: 2,
    Kind.POISON: 1,
    Kind.REDELIVERY: 1,
    Kind.STALE_ANSWER: 1,
    Kind.DISK_FULL: 1,
    Kind.POWER: 1,
    Kind.CLOCK: 3,
    Kind.NETWORK: 8,
}
"""How often each kind is drawn, compared with the others."""
HOURS = (-24.0 * 9, -30.0, -3.0, 2.0, 26.0, 24.0 * 9)
"""By which a clock is wrong: about those of a time zone, of a day, and of more than the horizon."""
VICTIMS = {
    Kind.KILL_CHILD: SERVERS,
    Kind.KILL_ALL: (EVERYTHING,),
    Kind.RESTART: (EVERYTHING,),
    Kind.POWER: (EVERYTHING,),
    Kind.EXTRA: ("worker", "sink clickhouse", "sink topics"),
    Kind.POISON: ("worker",),
    Kind.REDELIVERY: ("worker",),
    Kind.STALE_ANSWER: ("worker",),
    Kind.DISK_FULL: DISKS,
}
"""Of the kinds whose victims are the same in every form; the others are aimed at roles."""
LONG, SHORT = (8.0, 15.0), (0.5, 8.0)
"""Seconds: longer than a session of 6 s in Kafka, and others."""


def draw_plan(
    seed: object, roles: Sequence[str], *, seconds: float, pause: float, kinds: Collection[Kind]
) -> list[Fault]:
    """Draw the faults of one round.

    Args:
        seed: what is drawn depends on it, and on what can be broken.
        roles: the pipeline's.
        seconds: length of the round.
        pause: seconds between two faults on average; some overlap.
        kinds: only these.
    """
    draw = chance("plan", seed)
    weights = {kind: weight for kind, weight in WEIGHTS.items() if kind in kinds}
    faults = []
    at = draw.uniform(0.5, 3.0)
    while at < seconds:
        (kind,) = draw.choices(tuple(weights), tuple(weights.values()))
        faults.append(_fault(draw, at, kind, roles))
        at += draw.expovariate(1 / pause)
    return faults


def _fault(draw: random.Random, at: float, kind: Kind, roles: Sequence[str]) -> Fault:
    seconds = draw.uniform(*draw.choice((LONG, SHORT)))
    if kind is not Kind.NETWORK:
        hours = draw.choice(HOURS) if kind is Kind.CLOCK else 0.0
        return Fault(at=at, kind=kind, victim=draw.choice(_victims(kind, roles)), seconds=seconds, hours=hours)
    server = draw.choice(SERVERS)
    weather = draw.choice(KAFKA if server == "kafka" else CLICKHOUSE)
    near = roles if server == "kafka" else [role for role in roles if role.startswith("sink-clickhouse")]
    victim = draw.choice((*near, EVERYTHING))
    return Fault(at=at, kind=kind, victim=victim, seconds=seconds, server=server, weather=weather)


def _victims(kind: Kind, roles: Sequence[str]) -> Sequence[str]:
    match kind:
        case Kind.KILL | Kind.TERMINATE | Kind.FREEZE:
            return (*roles, *SERVERS)
        case Kind.CLOCK:
            return (*(role for role in roles if not role.startswith("worker")), "clickhouse", EVERYTHING)
        case _:
            return VICTIMS[kind]
