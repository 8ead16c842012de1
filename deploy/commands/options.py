"""What several commands ask for: the configuration, the data folder, how to log."""

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from deploy.data_folder import DataFolder
from deploy.environment import DEFAULT, Environment, data_folder, read
from deploy.logs import set_up
from deploy.schema import Path as Key

P = ParamSpec("P")
R = TypeVar("R")

PATH = click.Path(path_type=Path)


class Invocation:
    """How a command was called: reads its settings when it knows its own flags."""

    def __init__(
        self, *, config: Path | None, data: Path | None, log_format: str | None, log_level: str | None
    ) -> None:
        self._config = config
        self._flags: dict[Key, Any] = {("log", "format"): log_format, ("log", "level"): log_level}
        self.given_data = data
        self.data = data_folder(data, config)

    def environment(self, flags: Mapping[Key, Any] | None = None, *, own: bool = False) -> Environment:
        """Read the settings and set up logging as they say.

        Args:
            flags: values of the command's own flags by key, ``None`` for those not given.
            own: the command runs the pipeline of the data folder itself, instead of finding it there.

        Raises:
            ConfigurationError: they cannot be used.
        """
        run = None if own else DataFolder(self.data).running()
        given = {**self._flags, **(flags or {})}
        if run is None:
            return read(flags=given, config=self._config)
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

    def mention_defaults(self, environment: Environment, key: Key) -> None:
        """Say so before a default address is tried: mostly `todoke up` is not running, or in another data folder."""
        if environment.origin(key) == DEFAULT:
            click.echo(
                f"todoke: no pipeline runs in the data folder {self.data}, so the default addresses are tried: "
                "start `todoke up`, or name its folder with --data DIR",
                err=True,
            )


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
