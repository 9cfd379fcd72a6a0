"""What a bound assumes: outside of it there is no bound, and asking for one is an error."""

from typing import Any

import numpy as np
import numpy.typing as npt

#: How the objective of a leave-one-out run is normalised, and the constant c that follows from it.
#: N1: the mean over the n − 1 examples that are left. N2: their sum divided by n, so that the
#: other examples keep their weight (Bousquet & Elisseeff 2002).
NORMALIZATIONS = {"N1": 2.0, "N2": 1.0}


class Inapplicable(ValueError):  # noqa: N818 (it names a finding, not a fault)
    """An assumption of a bound does not hold, so that the bound says nothing."""


def require(holds: npt.ArrayLike, assumption: str, **values: Any) -> None:
    """Raise ``Inapplicable`` unless ``holds`` is true everywhere; NaN and infinity are not."""
    if not np.all(holds):
        shown = ", ".join(f"{name} = {_short(value)}" for name, value in values.items())
        raise Inapplicable(f"assumed: {assumption}; given: {shown}")


def _short(value: Any) -> str:
    value = np.asarray(value)
    return f"{value.item():g}" if value.ndim == 0 else f"{value.min():g} … {value.max():g}"


def constant_of(normalization: str) -> float:
    """c = 2 for N1, 1 for N2. Raises ``ValueError`` for another name."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization = {normalization!r}: give one of {list(NORMALIZATIONS)}")
    return NORMALIZATIONS[normalization]
