"""The programs that make up a local pipeline: how each is started, and how one learns that it works."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from deploy.environment import for_child
from deploy.ports import LOOPBACK, chosen_port, free_port, http_url, reachable
from deploy.probe import http_status, kafka_answers, reacts
from deploy.settings import Settings
from deploy.supervisor import MOST_DOUBLINGS, Launch, Question
from streams.contracts.errors import ConfigurationError

PATIENCE = 10.0
"""Seconds that a program has for a sign of life, if it may be silent for so long at all: one that is busy is slow, and
must not be taken for one that hangs."""
LONGEST = 3600.0
"""What the settings of seconds allow."""
AUDITED = "1d"
"""How far back the books are looked at again and again."""


def journal_folder(settings: Settings, data: Path) -> Path:
    """Tell where ingest's journal lies: where the settings say, else in the data folder."""
    return (settings.ingest.journal or data / "journal").absolute()


class Kind(StrEnum):
    """What a program is; the first of its kind is called by it, further ones get a number: ``worker``, ``worker-2``."""

    KAFKA = "kafka"
    CLICKHOUSE = "clickhouse"
    SINK_CLICKHOUSE = "sink-clickhouse"
    SINK_TOPICS = "sink-topics"
    WORKER = "worker"
    INGEST = "ingest"
    AUDIT = "audit"


SINKS = (Kind.SINK_CLICKHOUSE, Kind.SINK_TOPICS)


@dataclass(frozen=True, slots=True)
class Program:
    """One of the programs."""

    kind: Kind
    launch: Callable[[], Launch]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """Where clients connect."""

    http: int
    kafka: int
    clickhouse: int

    @classmethod
    def chosen(cls, settings: Settings) -> "Ports":
        """Take the ports that the settings name, or pick some.

        Raises:
            ConfigurationError: some are in use, each of which is named, or one is named twice.
        """
        local, ingest = settings.local, settings.ingest
        wishes = (
            _Wish("http", ingest.host, ingest.port, "webhooks"),
            _Wish("kafka", LOOPBACK, local.kafka_port, "Kafka"),
            _Wish("clickhouse", LOOPBACK, local.clickhouse_port, "ClickHouse"),
        )
        for one, other in combinations(wishes, 2):
            if one.port and one.port == other.port:
                raise ConfigurationError(
                    f"port {one.port} is named for {one.purpose} and for {other.purpose}: choose another for one of "
                    f"them, {one.flag} or {other.flag} (0 picks a free one)"
                )
        taken = {wish.port for wish in wishes}
        found: dict[str, int] = {}
        refusals = []
        for wish in wishes:
            try:
                port = chosen_port(wish.host, wish.port, purpose=wish.purpose, flag=wish.flag, besides=taken)
            except ConfigurationError as error:
                refusals.append(str(error))
                continue
            found[wish.name] = port
            taken.add(port)
        if refusals:
            raise ConfigurationError("\n".join(refusals))
        return cls(**found)


class _Wish(NamedTuple):
    """A port that the settings ask for, or 0."""

    name: str
    host: str
    port: int
    purpose: str

    @property
    def flag(self) -> str:
        return f"--{self.name}-port"


class Programs:
    """What `todoke up` starts."""

    def __init__(self, *, settings: Settings, file: Path | None, data: Path, ports: Ports) -> None:
        """Describe them.

        Args:
            settings: as the user gave them.
            file: the configuration that the roles read as well.
            data: the data folder.
            ports: where clients connect.
        """
        kafka = type(settings.kafka)(bootstrap_servers=f"{LOOPBACK}:{ports.kafka}")
        topics = settings.topics.model_copy(update={"replication_factor": 1})
        clickhouse = settings.clickhouse.model_copy(
            update={"host": LOOPBACK, "port": ports.clickhouse, "secure": False, "ca_cert": None}
        )
        self.settings = settings.model_copy(update={"kafka": kafka, "topics": topics, "clickhouse": clickhouse})
        """What the user gave, with the addresses of this pipeline's own Kafka and ClickHouse."""
        self.ports = ports
        self._picked_ports: dict[str, int] = {}
        self._file = file
        self._data = data
        self._ingest_host = reachable(settings.ingest.host)
        self._patience = min(PATIENCE, settings.local.silence / 4)

    @property
    def admin_ports(self) -> dict[str, int]:
        """Where each role serves its health and metrics, as of its last start."""
        return {name: port for name, port in self._picked_ports.items() if name != Kind.KAFKA}

    @property
    def http(self) -> str:
        """Where webhooks go."""
        return http_url(self._ingest_host, self.ports.http)

    @property
    def clickhouse(self) -> str:
        """Where ClickHouse's clients connect."""
        return http_url(LOOPBACK, self.ports.clickhouse)

    @property
    def addresses(self) -> dict[str, Any]:
        """Settings by dotted key that lead another process to this pipeline."""
        topics = self.settings.topics
        return {
            "kafka.bootstrap_servers": self.settings.kafka.bootstrap_servers,
            "kafka.security_protocol": self.settings.kafka.security_protocol,
            "clickhouse.host": LOOPBACK,
            "clickhouse.port": self.ports.clickhouse,
            "clickhouse.user": self.settings.clickhouse.user,
            "clickhouse.database": self.settings.clickhouse.database,
            "clickhouse.secure": False,
            "topics.prefix": topics.prefix,
            "topics.shards": topics.shards,
            "topics.horizon_days": topics.horizon_days,
            "topics.replication_factor": topics.replication_factor,
            "ingest.port": self.ports.http,
        }

    def all(self) -> dict[str, Program]:
        """Say of each program, by its name, how to start it. Names are the same at each start."""
        local = self.settings.local
        found: dict[str, Program] = {
            Kind.KAFKA: Program(Kind.KAFKA, self._kafka),
            Kind.CLICKHOUSE: Program(Kind.CLICKHOUSE, self._clickhouse),
        }
        for kind, number, section, command in (
            (Kind.SINK_CLICKHOUSE, local.sinks, "sink.clickhouse", ("sink", "clickhouse")),
            (Kind.SINK_TOPICS, local.sinks, "sink.topics", ("sink", "topics")),
            (Kind.WORKER, local.workers, "worker", ("worker",)),
        ):
            for slot in range(1, number + 1):
                name = _numbered(kind, slot)
                found[name] = Program(kind, partial(self._member, name, _numbered("local", slot), section, command))
        found[Kind.INGEST] = Program(Kind.INGEST, self._ingest)
        if local.audit_every:
            found[Kind.AUDIT] = Program(Kind.AUDIT, self._audit)
        return found

    def names(self, *kinds: Kind) -> list[str]:
        """List the programs of some kinds."""
        return [name for name, program in self.all().items() if program.kind in kinds]

    def _kafka(self) -> Launch:
        port = self.ports.kafka
        controller = ("--controller-port", str(self._pick(Kind.KAFKA)))
        command = ("kafka", "--data", str(self._data), "--port", str(port), *controller)
        # Its supervisor alone decides when it takes too long, and gives it more time at each start.
        patient = {"local.start_deadline": min(LONGEST, self.settings.local.start_deadline * 2**MOST_DOUBLINGS)}
        answers = partial(kafka_answers, LOOPBACK, port)
        return self._launch(command, patient, port=port, ready=answers, alive=partial(answers, patience=self._patience))

    def _clickhouse(self) -> Launch:
        command = ("clickhouse", "--data", str(self._data), "--port", str(self.ports.clickhouse))
        answers = partial(_says_ok, LOOPBACK, self.ports.clickhouse, "/ping")
        return self._launch(
            command, port=self.ports.clickhouse, ready=answers, alive=partial(answers, patience=self._patience)
        )

    def _ingest(self) -> Launch:
        settings = {"ingest.journal": str(journal_folder(self.settings, self._data))}
        return self._served(("ingest",), self._ingest_host, self.ports.http, settings)

    def _audit(self) -> Launch:
        every = str(self.settings.local.audit_every)
        launch = self._role(Kind.AUDIT, ("audit", "--watch", every, "--since", AUDITED))
        # The books may be out of balance while it does its work well.
        return replace(launch, ready=partial(_says_ok, LOOPBACK, self._picked_ports[Kind.AUDIT], "/healthz"))

    def _member(self, name: str, instance: str, section: str, command: Sequence[str]) -> Launch:
        """Start a member of a consumer group under its own name: it gets its partitions back at once after a kill."""
        return self._role(name, command, {f"{section}.instance": instance})

    def _role(self, name: str, command: Sequence[str], settings: Mapping[str, Any] | None = None) -> Launch:
        """Start a role with an admin port of its own."""
        port = self._pick(name)
        return self._served(command, LOOPBACK, port, {"admin.host": LOOPBACK, "admin.port": port, **(settings or {})})

    def _pick(self, name: str) -> int:
        """Pick a port for a program that is none of the others', whether they listen already or not.

        Another one at each start, in case somebody has taken the last one since.
        """
        self._picked_ports[name] = port = free_port(
            LOOPBACK, besides={*astuple(self.ports), *self._picked_ports.values()}
        )
        return port

    def _served(
        self, command: Sequence[str], host: str, port: int, settings: Mapping[str, Any] | None = None
    ) -> Launch:
        return self._launch(
            command,
            settings,
            port=port,
            ready=partial(_says_ok, host, port, "/readyz"),
            alive=partial(reacts, host, port, "/healthz", patience=self._patience),
        )

    def _launch(
        self,
        command: Sequence[str],
        settings: Mapping[str, Any] | None = None,
        *,
        port: int,
        ready: Question,
        alive: Question,
    ) -> Launch:
        # -P keeps the current folder, where anything may lie, out of the module search path.
        argv = [sys.executable, "-P", "-m", "deploy.cli", *command]
        log = {"log.format": self.settings.log.format, "log.level": self.settings.log.level}
        variables = for_child({**self.addresses, **log, **(settings or {})})
        variables["TODOKE_DATA"] = str(self._data)
        if self._file is not None:
            variables["TODOKE_CONFIG"] = str(self._file.absolute())
        return Launch(argv=argv, env=variables, port=port, ready=ready, alive=alive)


def _numbered(name: str, slot: int) -> str:
    return name if slot == 1 else f"{name}-{slot}"


async def _says_ok(host: str, port: int, path: str, *, patience: float = 2.0) -> bool:
    return await http_status(host, port, path, patience=patience) == 200  # noqa: PLR2004 - HTTP's own word for ok
