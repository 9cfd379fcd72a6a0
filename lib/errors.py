"""Errors that say what to do, and the nearest valid name for a misspelt one."""

import argparse
import difflib
from collections.abc import Callable, Iterable


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


def argument(load: Callable[[str], object]) -> Callable[[str], str]:
    """A type for argparse: the text itself, but what ``load`` refuses is said in a line."""

    def check(text: str) -> str:
        try:
            load(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return check
