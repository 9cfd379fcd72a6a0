"""Errors that say what to do, and the nearest valid name for a misspelt one."""

import argparse
import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, dataclass_transform

from pydantic import AfterValidator, ConfigDict, ValidationError, create_model
from pydantic.dataclasses import dataclass


class AssetError(RuntimeError):
    """A pinned file could not be had, or is not the pinned one."""


class BackboneError(ValueError):
    """A backbone cannot be had; the message names it and says what works instead."""


class TaskError(ValueError):
    """A task cannot be read; the message names file, column and row, or says what to set."""


class SourceMissingError(TaskError):
    """A task cannot be read because its source is not on this machine."""


def nearest(value: object, valid: Iterable[str]) -> str:
    """The end of an error message: the closest valid names, or all of them."""
    valid = [str(name) for name in valid]
    close = difflib.get_close_matches(str(value), valid, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"valid: {', '.join(sorted(valid))}"


@contextmanager
def about(what: str) -> Iterator[None]:
    """A ``ValueError`` that is raised inside begins with what it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def argument(load: Callable[[str], Any]) -> Callable[[str], Any]:
    """A type for argparse: what ``load`` makes of a text, or why it refuses it, in a line."""

    def loaded(text: str) -> Any:
        try:
            return load(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return loaded


_STRICT = ConfigDict(strict=True, extra="forbid")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def checked(cls: type) -> type:
    """A frozen dataclass of keywords whose fields are checked; ``ValueError`` says what is wrong.

    ``dataclasses.replace`` checks anew. ``__post_init__`` sees the fields after their checks.
    """
    strict = dataclass(frozen=True, kw_only=True, config=_STRICT)(cls)
    strict.__init__ = _explained(strict.__pydantic_fields__)(strict.__init__)
    return strict


def check(fields: Mapping[str, tuple[Any, Any]], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name, checked; ``fields`` gives each name's type and default, ``...`` for none."""
    with _explained(fields):
        return dict(create_model("Values", __config__=_STRICT, **fields).model_validate(values))


def passing(check: Callable[[Any], Any]) -> AfterValidator:
    """For an annotation: a value that a function does not refuse, as it is."""

    def unchanged(value: Any) -> Any:
        check(value)
        return value

    return AfterValidator(unchanged)


@contextmanager
def _explained(names: Collection[str]) -> Iterator[None]:
    """What is wrong, in a line: name, value, what was expected; ``names`` are the valid ones."""
    try:
        yield
    except ValidationError as error:
        sentences = (_sentence(fault, names) for fault in error.errors())
        raise ValueError("; ".join(sentences)) from None


def _sentence(error: Mapping[str, Any], names: Collection[str]) -> str:
    value, kind, message = error["input"], error["type"], error["msg"]
    if kind == "value_error":
        return str(error["ctx"]["error"])
    parts = error["loc"][:-2] if error["loc"][-1] == "[key]" else error["loc"]
    name = "".join(f"[{part}]" if isinstance(part, int) else f": {part}" for part in parts)[2:]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown parameter {name}: {nearest(name, names) if names else 'it has none'}"
    if kind in ("missing", "missing_keyword_only_argument"):
        return f"{name} is missing"
    if kind == "too_short":
        return f"{name} is empty; give at least one"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        return f"{name} = {value!r} is unknown: {nearest(value, choices)}"
    if kind.endswith("_type"):
        expected = kind.removesuffix("_type").replace("string", "str")
        hint, scientific = "", r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+"
        if expected == "float" and isinstance(value, str) and re.fullmatch(scientific, value):
            hint = f"; YAML reads this as text: write {float(value):.1e}"
        return f"{name} = {value!r} is {type(value).__name__}, expected {expected}{hint}"
    return f"{name} = {value!r} {message.removeprefix('Input ')}"


def check_name(what: str, name: object) -> None:
    """Refuse a name that could not be that of a folder, of a word for the shell, of a wildcard."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            f"{what} {name!r}: use letters, digits, dots, hyphens and underscores, and begin with "
            "a letter or a digit"
        )
    if name in ("logs", "promoted"):
        raise ValueError(f"{what} {name!r}: the engine keeps a folder of that name for itself")
