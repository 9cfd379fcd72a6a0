"""The random streams of a run, and the numbers that seed them."""

import itertools
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STREAMS = ("init", "order", "dropout")


@dataclass(frozen=True)
class Seeds:
    """The seeds of one run: of all three streams, unless one is overridden.

    Streams as Dodge et al. (2020) separate them: ``init`` (newly initialised weights), ``order``
    (data order) and ``dropout``.
    """

    seed: int
    init: int
    order: int
    dropout: int

    @classmethod
    def of(cls, seed: int, **streams: int) -> "Seeds":
        """All streams from ``seed``, except those given by name."""
        return cls(seed, **(dict.fromkeys(STREAMS, seed) | streams))

    @classmethod
    def parse(cls, label: str) -> "Seeds":
        """The seeds of a label: ``seed3``, ``seed3-init0-order7``."""
        streams = "".join(f"(-{name}(?P<{name}>\\d+))?" for name in STREAMS)
        match = re.fullmatch(rf"seed(?P<seed>\d+){streams}", label)
        if not match:
            raise ValueError(
                f"seeds: {label!r} is not a seed; write 3, or seed3-init0 to hold the new weights, "
                "seed3-order0, seed3-dropout0, or several of these in that order"
            )
        return cls.of(**{name: int(word) for name, word in match.groupdict().items() if word})

    @property
    def label(self) -> str:
        """``seed3``, or ``seed3-init0`` where the init stream is held at another seed."""
        held = {name: getattr(self, name) for name in STREAMS if getattr(self, name) != self.seed}
        return "-".join([f"seed{self.seed}", *(f"{name}{seed}" for name, seed in held.items())])

    def stream(self, name: str) -> int:
        """The stream's own 32-bit seed: streams are independent even under one number."""
        entropy = [getattr(self, name), zlib.crc32(name.encode())]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def read(seeds: Sequence[int | str]) -> list[Seeds]:
    """Whole numbers and labels as seeds; ``ValueError`` if there are none or one is there twice."""
    if not seeds:
        raise ValueError("seeds is empty; give at least one")
    runs = []
    for i, seed in enumerate(seeds):
        if type(seed) not in (int, str):
            kind = type(seed).__name__
            raise ValueError(f"seeds[{i}] = {seed!r} is {kind}, expected int or a label")
        if type(seed) is int and seed < 0:
            raise ValueError(f"seeds must not be negative: {seed}")
        runs.append(Seeds.of(seed) if type(seed) is int else Seeds.parse(seed))
    labels = [run.label for run in runs]
    if repeated := sorted({label for label in labels if labels.count(label) > 1}):
        raise ValueError(f"seeds are repeated: {', '.join(repeated)}; each seed is one run")
    return runs


def crossed(seeds: Sequence[int], streams: dict[str, Sequence[int]]) -> list[Seeds]:
    """Every combination of the given streams' seeds, under each base seed."""
    return [
        Seeds.of(seed, **dict(zip(streams, values, strict=True)))
        for seed in seeds
        for values in itertools.product(*streams.values())
    ]
