"""The settings in force, and where each came from. The only reader of environment variables and of ``todoke.toml``.

Layers, each overriding the ones before it:

1. the defaults in the settings models,
2. the addresses of the pipeline that ``todoke up`` runs on this machine (``run.json`` in its data folder),
3. ``todoke.toml`` in the current folder, or the file that ``--config`` or ``TODOKE_CONFIG`` names, or else the file
   that this pipeline reads,
4. variables, a level per ``__``: ``TODOKE_KAFKA__BOOTSTRAP_SERVERS`` is ``bootstrap_servers`` in ``[kafka]``,
5. flags of the command.

A secret may be kept in a file of its own: ``sasl_password_file = "/run/secrets/kafka"`` reads ``sasl_password`` from
it, and ``TODOKE_KAFKA__SASL_PASSWORD_FILE`` does the same.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deploy.schema import Path as Key
from deploy.schema import Schema, Setting, dotted, masked, values
from deploy.settings import Settings
from streams.contracts.errors import ConfigurationError, TodokeError

PREFIX = "TODOKE_"
LEVELS = "__"
DEFAULT_FILE = Path("todoke.toml")
SHORT_NAMES = {"TODOKE_DATA": ("local", "data")}
"""Variables that are shorter than their key."""
OWN_VARIABLES = frozenset({"TODOKE_CONFIG"})
"""Variables that say where settings are and are none."""
DEFAULT = "default"
FILE_SUFFIX = "_file"
NO_LIST = frozenset({"tuple_type", "list_type", "set_type", "frozen_set_type"})
"""Pydantic's words for a value that should have been a list, which a user writes in one way only."""


@dataclass(frozen=True, slots=True)
class Given:
    """One value as somebody wrote it."""

    value: Any
    origin: str
    """Where: a file, a variable, a flag."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """Everything that a command may know of the outside."""

    settings: Settings
    origins: Mapping[Key, str] = field(default_factory=dict)
    """Where each value came from that is no default."""
    file: Path | None = None
    """The ``todoke.toml`` that was read."""

    def origin(self, key: Key) -> str:
        """Tell where a value came from."""
        return _origin(key, self.origins)

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Have errors of the block say where each value came from that they name as ``key = value``."""
        try:
            yield
        except TodokeError as error:
            error.args = (_with_origins(str(error), self.origins), *error.args[1:])
            raise

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """List key, value and origin of every setting; secrets masked."""
        for key, value in values(self.settings):
            setting = SCHEMA.find(key)
            secret = setting is not None and setting.secret
            yield dotted(key), masked(_plain(value)) if secret else _plain(value), self.origin(key)


SCHEMA = Schema(Settings)
NAMED = re.compile(r"""\b([a-z_]+(?:\.[\w-]+)+) = ("[^"]*"|'[^']*'|[\w.+-]*\w)""")
"""A key and its value in a sentence."""


def _origin(key: Key, origins: Mapping[Key, str]) -> str:
    return next((origins[key[:end]] for end in range(len(key), 0, -1) if key[:end] in origins), DEFAULT)


def _with_origins(sentence: str, origins: Mapping[Key, str]) -> str:
    """Put where a value came from behind each ``key = value`` of a sentence."""

    def located(found: re.Match[str]) -> str:
        key = tuple(found[1].split("."))
        return found[0] if SCHEMA.find(key) is None else f"{found[0]} ({_origin(key, origins)})"

    return NAMED.sub(located, sentence)


def read(
    *,
    flags: Mapping[Key, Any] | None = None,
    config: Path | None = None,
    variables: Mapping[str, str] | None = None,
    running: Mapping[str, Any] | None = None,
    running_file: Path | None = None,
) -> Environment:
    """Read all layers and check the result.

    Args:
        flags: values given on the command line by key, ``None`` where a flag was not given.
        config: the file to read instead of ``todoke.toml``.
        variables: instead of the process's own.
        running: settings of the running local pipeline by dotted key, from ``run.json``.
        running_file: the file that this pipeline reads, for who names none and has none at hand.

    Raises:
        ConfigurationError: something is unknown, unreadable or not allowed; the message lists all of it.
    """
    variables = os.environ if variables is None else variables
    file = config or _named_file(variables) or (DEFAULT_FILE if DEFAULT_FILE.is_file() else running_file)
    problems: list[str] = []
    given: dict[Key, Given] = {}
    for key, value in (running or {}).items():
        given[tuple(key.split("."))] = Given(value, "run.json")
    if file is not None:
        given.update(_of_file(file, problems))
    given.update(_of_variables(variables, given, problems))
    for path, value in (flags or {}).items():
        if value is not None:
            given[path] = Given(value, "--" + path[-1].replace("_", "-"))
    given = _without_unknown(given, problems)
    settings = _checked(given, problems)
    if problems or settings is None:
        raise ConfigurationError("\n".join(["the configuration cannot be used:", *(f"  {line}" for line in problems)]))
    return Environment(settings=settings, origins={key: entry.origin for key, entry in given.items()}, file=file)


def data_folder(
    flag: Path | None = None, config: Path | None = None, variables: Mapping[str, str] | None = None
) -> Path:
    """Tell the data folder before anything else is known, since ``run.json`` lies there."""
    variables = os.environ if variables is None else variables
    named = variables.get("TODOKE_DATA") or variables.get("TODOKE_LOCAL__DATA")
    return flag or Path(named or _data_in(config or _named_file(variables) or DEFAULT_FILE) or "data")


def _data_in(file: Path) -> str | None:
    """Look up ``data`` in ``[local]``; what is wrong with the file is told when all of it is read."""
    try:
        local = tomllib.loads(file.read_text(encoding="utf-8")).get("local", {})
    except (OSError, ValueError):
        return None
    data = local.get("data") if isinstance(local, dict) else None
    return data if isinstance(data, str) else None


def for_child(settings: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Make the variables of a child process: this process's own, and settings by dotted key on top."""
    variables = os.environ if variables is None else variables
    own = {PREFIX + LEVELS.join(key.upper().split(".")): _as_variable(value) for key, value in settings.items()}
    return {**variables, **own}


def _named_file(variables: Mapping[str, str]) -> Path | None:
    named = variables.get("TODOKE_CONFIG")
    return Path(named) if named else None


def _of_file(file: Path, problems: list[str]) -> dict[Key, Given]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration file {file}: check --config and TODOKE_CONFIG") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the configuration file {file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not TOML: {error}") from error
    entries: dict[Key, Given] = {}
    for path, value in _leaves(tables, ()):
        _take(entries, path, value, str(file), problems)
    return entries


def _leaves(table: Mapping[str, Any], path: Key) -> Iterator[tuple[Key, Any]]:
    for name, value in table.items():
        below = (*path, name)
        if isinstance(value, dict) and SCHEMA.is_section(below):
            if not value and SCHEMA.find(below) is None:
                yield below, value  # an empty table still creates its source
            yield from _leaves(value, below)
        else:
            yield below, value


def _of_variables(variables: Mapping[str, str], given: Mapping[Key, Given], problems: list[str]) -> dict[Key, Given]:
    entries: dict[Key, Given] = {}
    for name, text in variables.items():
        if not name.startswith(PREFIX) or name in OWN_VARIABLES:
            continue
        path = SHORT_NAMES.get(name) or _spelled_as_in(given, tuple(name[len(PREFIX) :].lower().split(LEVELS)))
        setting = SCHEMA.find(path)
        _take(entries, path, _of_text(text, setting), name, problems)
    return entries


def _take(entries: dict[Key, Given], path: Key, value: Any, origin: str, problems: list[str]) -> None:
    """Keep a value, or what stands in the file that the value names."""
    target = _secret_of_file(path)
    if target is None:
        entries[path] = Given(value, origin)
        return
    try:
        text = Path(str(value)).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{dotted(path)} ({origin}) names a file that cannot be read: {error}")
        return
    entries[target.path if target.path[-1] == path[-1] else (*path[:-1], target.path[-1])] = Given(
        text.split("\n") if target.is_many else text, f"{origin}: {value}"
    )


def _secret_of_file(path: Key) -> Setting | None:
    if not path[-1].endswith(FILE_SUFFIX) or SCHEMA.find(path) is not None:
        return None
    setting = SCHEMA.find((*path[:-1], path[-1].removesuffix(FILE_SUFFIX)))
    return setting if setting is not None and setting.secret else None


def _spelled_as_in(given: Mapping[Key, Given], path: Key) -> Key:
    """Find how the file spells a name that a variable can only write in capitals and without hyphens."""
    known = {
        tuple(part.lower().replace("-", "_") for part in key[:end]): key[:end]
        for key in given
        for end in range(1, len(key) + 1)
    }
    for end in range(len(path), 0, -1):
        if path[:end] in known:
            return (*known[path[:end]], *path[end:])
    return path


def _of_text(text: str, setting: Setting | None) -> Any:
    if setting is None or not setting.is_many:
        return text
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return [part.strip() for part in text.split(",") if part.strip()]


def _without_unknown(given: Mapping[Key, Given], problems: list[str]) -> dict[Key, Given]:
    kept = {}
    for path, entry in given.items():
        if SCHEMA.find(path) is not None or SCHEMA.is_section(path):
            kept[path] = entry
            continue
        near = SCHEMA.nearest(path)
        hint = f"did you mean {near}?" if near else "there is: " + ", ".join(SCHEMA.siblings(path))
        problems.append(f"{dotted(path)} ({entry.origin}) is no setting; {hint}")
    return kept


def _checked(given: Mapping[Key, Given], problems: list[str]) -> Settings | None:
    try:
        return Settings.model_validate(_nested(given))
    except ValidationError as error:
        problems += [
            _sentence(tuple(str(part) for part in detail["loc"]), detail, given)
            for detail in error.errors(include_url=False, include_context=False)
        ]
    return None


def _nested(given: Mapping[Key, Given]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, entry in sorted(given.items(), key=lambda item: len(item[0])):
        table = tree
        for name in path[:-1]:
            table = table.setdefault(name, {})
        table[path[-1]] = entry.value
    return tree


def _sentence(path: Key, detail: Mapping[str, Any], given: Mapping[Key, Given]) -> str:
    key = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in given), None)
    setting = SCHEMA.find(key or path)
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] in NO_LIST:
        message = 'must be a list, like ["one", "two"]'
    allowed = f" ({setting.description.rstrip('.')})" if setting is not None and setting.description else ""
    if detail["type"] == "missing":
        return f"{dotted(path)} must be set{allowed}"
    if key is None:
        if path:
            return f"{dotted(path)}: {message}{allowed}"
        return _with_origins(message, {key: entry.origin for key, entry in given.items()})
    shown = masked(given[key].value) if setting is not None and setting.secret else given[key].value
    return f"{dotted(key)} = {shown!r} ({given[key].origin}): {message}{allowed}"


def _plain(value: Any) -> Any:
    """Turn a settings value into JSON."""
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _as_variable(value: Any) -> str:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
