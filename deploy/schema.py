"""Which settings there are: the tree of keys behind a settings model, for teaching errors and for ``todoke config``."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr

ANY_NAME = "NAME"
"""Stands for a name that the user chooses, e.g. that of a source."""

SECRET_WORDS = ("password", "secret", "api_key", "token")
MASK = "********"

Path = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One key that can be set."""

    path: Path
    """Section, then key; `ANY_NAME` where the user chooses."""

    annotation: Any
    """The type that its value must have."""

    secret: bool
    """Never shown."""

    description: str

    @property
    def is_many(self) -> bool:
        """Tell whether the value is a list or a table, which a variable writes as JSON or separated by commas."""
        return any(
            isinstance(kind, type) and issubclass(kind, list | tuple | set | frozenset | dict)
            for kind in _alternatives(self.annotation)
        )


class Schema:
    """All keys of a settings model."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.settings = tuple(_walk(model, ()))
        self._by_path = {setting.path: setting for setting in self.settings}

    def find(self, path: Path) -> Setting | None:
        """Find the setting that a path as written by the user means."""
        exact = self._by_path.get(path)
        if exact is not None:
            return exact
        return next((setting for setting in self.settings if _fits(setting.path, path)), None)

    def is_section(self, path: Path) -> bool:
        """Tell whether something can be set below this path."""
        return any(
            len(setting.path) > len(path) and _fits(setting.path[: len(path)], path) for setting in self.settings
        )

    def nearest(self, path: Path) -> str | None:
        """Name the existing key or section that looks most like a mistyped one."""
        candidates = {dotted(_named_as(setting.path, path)) for setting in self.settings}
        sections = {setting.path[: len(path)] for setting in self.settings if len(setting.path) > len(path)}
        candidates |= {dotted(section) for section in sections if ANY_NAME not in section}
        near = difflib.get_close_matches(dotted(path), candidates, n=1, cutoff=0.75)
        return near[0] if near else None

    def siblings(self, path: Path) -> list[str]:
        """List the keys of the section that a mistyped key was written in; the sections if that is unknown, too."""
        for known in range(len(path) - 1, -1, -1):
            keys = {
                setting.path[known]
                for setting in self.settings
                if len(setting.path) > known and _fits(setting.path[:known], path[:known])
            }
            if keys:
                return sorted(keys)
        return []


def dotted(path: Path) -> str:
    """Write a path as in messages: ``kafka.bootstrap_servers``."""
    return ".".join(path)


def masked(value: object) -> object:
    """Put a mask in the place of a secret; what is empty shows as empty."""
    return MASK if value not in (None, "", [], ()) else value


def values(instance: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """List every value of a settings object with its path, in the order of the model."""
    for name in _field_names(type(instance)):
        value = getattr(instance, name)
        yield from _values_below(value, (*path, name))


def _values_below(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if _is_model(type(value)):
        yield from values(value, path)
    elif isinstance(value, Mapping) and value and all(_is_model(type(item)) for item in value.values()):
        for name, item in value.items():
            yield from values(item, (*path, name))
    else:
        yield path, value


def _walk(model: type, path: Path) -> Iterator[Setting]:
    for name, annotation, secret, description in _fields(model):
        below = (*path, name)
        nested = next((kind for kind in _alternatives(annotation) if _is_model(kind)), None)
        named = _model_of_table(annotation)
        if nested is not None:
            yield from _walk(nested, below)
        elif named is not None:
            yield from _walk(named, (*below, ANY_NAME))
        else:
            yield Setting(path=below, annotation=annotation, secret=secret, description=description)


def _fields(model: Any) -> Iterator[tuple[str, Any, bool, str]]:
    if issubclass(model, BaseModel):
        for name, info in model.model_fields.items():
            secret = _is_secret(name, info.annotation) or info.repr is False
            yield name, info.annotation, secret, info.description or ""
    else:
        hints = typing.get_type_hints(model, include_extras=True)
        for field in dataclasses.fields(model):
            annotation = hints[field.name]
            yield field.name, annotation, _is_secret(field.name, annotation) or not field.repr, ""


def _field_names(model: Any) -> list[str]:
    if issubclass(model, BaseModel):
        return list(model.model_fields)
    return [field.name for field in dataclasses.fields(model)]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind))


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Unfold ``Annotated`` and unions into the plain types that they consist of."""
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for option in get_args(annotation):
            yield from _alternatives(option)
    else:
        yield origin if isinstance(origin, type) else annotation


def _model_of_table(annotation: Any) -> type | None:
    """Give ``Model`` for ``dict[str, Model]``."""
    if get_origin(annotation) is typing.Annotated:
        return _model_of_table(get_args(annotation)[0])
    origin = get_origin(annotation)
    if not (isinstance(origin, type) and issubclass(origin, Mapping)):
        return None
    return next((kind for kind in _alternatives(get_args(annotation)[1]) if _is_model(kind)), None)


def _is_secret(name: str, annotation: Any) -> bool:
    text = str(annotation)
    typed = SecretStr.__name__ in text or SecretBytes.__name__ in text
    return typed or any(word in name for word in SECRET_WORDS)


def _fits(pattern: Path, path: Path) -> bool:
    return len(pattern) == len(path) and all(want in (ANY_NAME, got) for want, got in zip(pattern, path, strict=True))


def _named_as(pattern: Path, path: Path) -> Path:
    """Put the user's own names in the place of `ANY_NAME`."""
    return tuple(path[at] if want == ANY_NAME and at < len(path) else want for at, want in enumerate(pattern))
