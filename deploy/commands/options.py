"""What several commands ask for: the configuration, the data folder, how to log."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from deploy.data_folder import DataFolder
from deploy.environment import DEFAULT, Environment, data_folder, read
from deploy.logs import set_up
from deploy.schema import Path as Key
from streams.contracts.errors import ConfigurationError, TodokeError

P = ParamSpec("P")
R = TypeVar("R")

PATH = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class Address:
    """Where something is that commands connect to."""

    of: str
    keys: tuple[Key, ...]
    """One of them at least is set by who means another address than the default."""


KAFKA = Address("Kafka", (("kafka", "bootstrap_servers"),))
CLICKHOUSE = Address("ClickHouse", (("clickhouse", "host"), ("clickhouse", "port")))
INGEST = Address("ingest", (("ingest", "port"),))


class NothingRunsError(TodokeError):
    """The pipeline that was named does not run now."""

    retriable = True


class Invocation:
    """How a command was called: reads its settings when it knows its own flags."""

    def __init__(
        self, *, config: Path | None, data: Path | None, log_format: str | None, log_level: str | None
    ) -> None:
        self._config = config
        self._flags: dict[Key, Any] = {("log", "format"): log_format, ("log", "level"): log_level}
        self.given_data = data
        self.data = data_folder(data, config)

    def environment(
        self,
        flags: Mapping[Key, Any] | None = None,
        *,
        needs: Sequence[Address] = (),
        own: bool = False,
        idle: bool = False,
    ) -> Environment:
        """Read the settings.

        Args:
            flags: values of the command's own flags by key, ``None`` for those not given.
            needs: what the command connects to; nothing if that is the pipeline of the data folder itself.
            own: the command runs the pipeline of the data folder itself, instead of finding it there.
            idle: the command can do its work though nothing runs in a data folder that was named.

        Raises:
            ConfigurationError: they cannot be used.
            TodokeError: nothing runs in the data folder that --data named; or in one that was named otherwise, and
                something that the command needs has no address.
        """
        run = None if own else DataFolder(self.data).running()
        if run is None and self.given_data is not None and not (own or idle):
            raise self._nothing_runs()
        given = {**self._flags, **(flags or {})}
        if run is None:
            environment = read(flags=given, config=self._config)
            self._look_at_addresses(environment, needs)
            return environment
        file = run.get("config")
        return read(
            flags=given,
            config=self._config,
            running=run.get("settings", {}),
            running_file=None if file is None else Path(file),
        )

    def start_logging(self, environment: Environment, role: str, *, is_brief: bool = False) -> None:
        """Log as the settings say.

        Args:
            environment: with the settings.
            role: who logs.
            is_brief: the command does one thing and says itself how that went; libraries need not.
        """
        log = environment.settings.log
        set_up(role, form=log.format, level=log.level, is_brief=is_brief)

    def _look_at_addresses(self, environment: Environment, needs: Sequence[Address]) -> None:
        """Say so before default addresses are tried: mostly `todoke up` is not running, or in another data folder.

        Raises:
            TodokeError: a data folder was named by a variable or the configuration, so that its pipeline is meant
                and not whatever has the default addresses.
        """
        left = [address.of for address in needs if all(environment.origin(key) == DEFAULT for key in address.keys)]
        if not left:
            return
        if environment.origin(("local", "data")) != DEFAULT:
            raise self._nothing_runs()
        click.echo(
            f"todoke: no pipeline runs in the data folder {self.data.absolute()}, so the default is tried for the "
            f"address of {' and of '.join(left)}: start `todoke up`, or name its folder with --data DIR",
            err=True,
        )

    def _nothing_runs(self) -> TodokeError:
        """Tell that the data folder that was named has no running pipeline: perhaps its name is mistyped."""
        folder = DataFolder(self.data)
        told = f"no pipeline runs in the data folder {folder.path}"
        todo = (
            f"start it with `todoke up --data {self.data}`, or name no data folder (--data, TODOKE_DATA, local.data) "
            "and set the addresses of the one that is meant (`todoke config` lists all settings)"
        )
        if folder.is_made:
            return NothingRunsError(f"{told}: {todo}")
        return ConfigurationError(f"{told}, nor did one before: check its name, {todo}")


def common_options(
    function: Callable[Concatenate[Invocation, P], R],
) -> Callable[P, R]:
    """Give a command the options that all have, as an `Invocation` in its first argument."""

    @click.option("--config", type=PATH, metavar="FILE", help="Configuration instead of ./todoke.toml.")
    @click.option("--data", type=PATH, metavar="DIR", help="Data folder of `todoke up`.  [default: ./data]")
    @click.option("--log-format", type=click.Choice(["text", "json"]), help="How log lines look.  [default: text]")
    @click.option(
        "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="What is logged.  [default: info]"
    )
    @wraps(function)
    def with_invocation(*args: Any, **options: Any) -> R:
        invocation = Invocation(**{name: options.pop(name) for name in ("config", "data", "log_format", "log_level")})
        return function(invocation, *args, **options)

    return with_invocation


admin_port = click.option(
    "--admin-port",
    "port",
    type=click.IntRange(0, 65535),
    help="Where to serve health and metrics; 0 picks one.  [default: 9100]",
)
"""Option of the roles that serve nothing but their own state."""
