"""The random streams of a run, and the numbers that seed them."""

import zlib
from dataclasses import dataclass

import numpy as np


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
    def of(cls, seed: int, init: int = -1, order: int = -1, dropout: int = -1) -> "Seeds":
        """All streams from ``seed``, except those given (−1: not given)."""
        return cls(seed, *(seed if value < 0 else value for value in (init, order, dropout)))

    @property
    def label(self) -> str:
        """``seed3``, or ``seed3-init0`` where the init stream is held at another seed."""
        overrides = [
            f"-{name}{getattr(self, name)}"
            for name in ("init", "order", "dropout")
            if getattr(self, name) != self.seed
        ]
        return f"seed{self.seed}{''.join(overrides)}"

    def stream(self, name: str) -> int:
        """The stream's own 32-bit seed: streams are independent even under one number."""
        entropy = [getattr(self, name), zlib.crc32(name.encode())]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])
