"""The words in which a setting names its methods.

A method is named, with its parameters in brackets, and several are joined by ``+``: ``standard``,
``mixout``, ``mixout(p=0.5)``, ``llrd+reinit(layers=2)``.
"""

import ast
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from lib.errors import about, nearest
from lib.models import stabilizers
from lib.models.stabilizers import Method

#: All methods but ``standard``, in the order in which they change a model.
METHODS: dict[str, type[Method]] = {
    "longer": stabilizers.Longer,
    "no_bias_correction": stabilizers.NoBiasCorrection,
    "surt": stabilizers.Surt,
    "reinit": stabilizers.Reinit,
    "head": stabilizers.Head,
    "mhloss": stabilizers.MhLoss,
    "lora": stabilizers.Lora,
    "mixout": stabilizers.Mixout,
    "llrd": stabilizers.Llrd,
    "wd_pre": stabilizers.WdPre,
    "mmr": stabilizers.Mmr,
}


def parse_method(text: str) -> dict[str, Method]:
    """``"llrd+reinit(layers=2)"`` as methods by name, in the order of ``METHODS``.

    ``standard`` is the empty dictionary. Raises ``ValueError`` for unknown names and parameters
    (with the nearest valid ones), values out of range, and methods that make no sense together.
    """
    if text == "standard":
        return {}
    methods: dict[str, Method] = {}
    for name, values in _calls(text):
        if name == "standard":
            raise ValueError(f"method = {text!r}: standard is what is left when nothing is added")
        if name not in METHODS:
            raise ValueError(f"method {name!r} is unknown: {nearest(name, ['standard', *METHODS])}")
        if name in methods:
            raise ValueError(f"method = {text!r}: {name} is there twice")
        with about(name):
            methods[name] = METHODS[name](**values)
    for name, other in itertools.permutations(methods, 2):
        if why := METHODS[name].conflicts.get(other):
            raise ValueError(f"method = {text!r}: {name} and {other} exclude each other: {why}")
    return {name: methods[name] for name in METHODS if name in methods}


def _calls(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and keyword values of ``a(x=1)+b``; never evaluated, only read."""
    try:
        nodes = [ast.parse(text, mode="eval").body]
        while isinstance(nodes[0], ast.BinOp) and isinstance(nodes[0].op, ast.Add):
            nodes[:1] = nodes[0].left, nodes[0].right
        for node in nodes:
            match node:
                case ast.Name(name):
                    yield name, {}
                case ast.Call(ast.Name(name), [], keywords):
                    yield name, {word.arg: ast.literal_eval(word.value) for word in keywords}
                case _:
                    raise ValueError
    except (SyntaxError, ValueError):
        raise ValueError(
            f"method = {text!r} cannot be read; write it like llrd+mixout(p=0.1)"
        ) from None


def canonical(text: str) -> str:
    """The one spelling of a method: order of ``METHODS``, parameters that are not the default."""
    words = []
    for name, method in parse_method(text).items():
        values = [
            f"{spec.name}={getattr(method, spec.name)!r}"
            for spec in dataclasses.fields(method)
            if getattr(method, spec.name) != spec.default
        ]
        words.append(f"{name}({', '.join(values)})" if values else name)
    return "+".join(words) or "standard"
