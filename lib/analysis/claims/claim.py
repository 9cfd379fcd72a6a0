"""What a claim is: a statistic, its specifications, a sentence for each verdict."""

import inspect
import itertools
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lib.measures.intervals import Interval

ALPHA, POWER = 0.05, 0.8
#: From the scale on which a claim is computed to the one on which it is given.
SCALES = {"": np.positive, "log": np.exp, "log2": np.exp2}
#: A claim holds if it does in this share of its specifications, and in none the opposite.
MOST = 0.75
#: An axis with more choices than this is a list of analyses, and no single one of them is a hinge.
MANY = 10
#: A range whose ends are printed alike, which is then given as one number.
SAME = re.compile(r"(?<![\w.])([-+]?\d[\d.,]*%?) to \1(?!\.?\w|%)")


class Estimate(NamedTuple):
    """A value with its interval of 95 %, the number of units behind it (runs, groups, tasks), and
    p where a test and not the interval decides.

    Exact facts (a count in a published table) have no interval; ``low`` and ``high`` are then the
    value. ``smallest`` is the distance from the null that is seen with a power of 80 %; by default
    it follows from the interval, as if normal.
    """

    value: float
    low: float
    high: float
    n: int
    p: float = float("nan")
    smallest: float = float("nan")

    @classmethod
    def of(cls, interval: Interval, p: float = float("nan")) -> "Estimate":
        """An interval of S runs."""
        return cls(*interval, p)

    @classmethod
    def pooled(cls, parts: Sequence[Interval]) -> "Estimate":
        """The mean of independent estimates, say of groups; normal, the errors from the intervals.

        Undefined parts (NaN) are left out.
        """
        known = [part for part in parts if not np.isnan([part.value, part.low, part.high]).any()]
        values, low, high = np.array([part[:3] for part in known]).T
        mean, reach = float(values.mean()), float(np.linalg.norm((high - low) / 2) / len(known))
        return cls(mean, mean - reach, mean + reach, len(known))

    @classmethod
    def exactly(cls, value: float, n: int) -> "Estimate":
        """A fact about what is at hand, that nothing random stands behind."""
        return cls(value, value, value, n, smallest=0.0)

    @property
    def detectable(self) -> float:
        """The distance from the null that is seen with a power of 80 %."""
        if not np.isnan(self.smallest):
            return self.smallest
        normal = stats.norm.ppf([1 - ALPHA / 2, POWER])
        return (self.high - self.low) / 2 * float(normal.sum() / normal[0])


Verdict = Literal["holds", "contradicted", "undecided"]


@dataclass(frozen=True)
class Claim:
    """See the module. ``axes``: the choices of each part of a specification, the usual one first;
    a specification is every combination of them, or one of those that ``given`` lists.

    ``side``: ``above`` or ``below`` the null, or ``within`` a margin of it, for claims that nothing
    differs: these hold only where the whole interval is inside the margin.
    ``needed``: the share of specifications in which it has to hold, and in none the opposite; 1
    where each leaves out one seed or group, so that nothing hangs on a single one.
    ``scale``: of the statistic; conclusions are given on the natural one.
    ``says``: a sentence for each verdict, of ``claims.toml``. Over all specifications there is a
    fourth, ``mixed``, where some hold and some say the opposite; it has the sentence of
    ``undecided``.
    """

    name: str
    statistic: Callable[..., Estimate]
    axes: Mapping[str, Sequence[Any]]
    given: Callable[[], list[dict[str, Any]]] | None
    notebook: int
    says: Mapping[Verdict, str]
    side: Literal["above", "below", "within"]
    null: float
    margin: float
    needed: float
    published: str
    scale: Literal["", "log", "log2"] = ""

    def specifications(self) -> list[dict[str, Any]]:
        """All specifications, the usual one first."""
        if self.given is not None:
            return self.given()
        return [
            dict(zip(self.axes, v, strict=True)) for v in itertools.product(*self.axes.values())
        ]

    def of_one(self, estimate: Estimate) -> Verdict:
        """What one estimate says."""
        value, low, high = (number - self.null for number in estimate[:3])
        if self.side == "within":
            if -self.margin <= low and high <= self.margin:
                return "holds"
            return "contradicted" if low > self.margin or high < -self.margin else "undecided"
        significant = low * high > 0 if np.isnan(estimate.p) else estimate.p < ALPHA
        if not significant:
            return "undecided"
        return "holds" if (value > 0) == (self.side == "above") else "contradicted"

    def evaluate(self) -> pd.DataFrame:
        """A row a specification that has data: claim, specification, estimate, verdict."""
        rows = []
        for chosen in self.specifications():
            estimate = self.statistic(**chosen)
            if not estimate.n:
                continue
            words = ", ".join(f"{axis}: {choice}" for axis, choice in chosen.items()) or "–"
            row = {"claim": self.name, "specification": words, **estimate._asdict()}
            rows.append(row | {"smallest": estimate.detectable, "verdict": self.of_one(estimate)})
        return pd.DataFrame(rows)

    def conclude(self, table: pd.DataFrame) -> dict[str, Any]:
        """Of the table of ``evaluate``: the verdict over all specifications and its sentence."""
        counts = table["verdict"].value_counts()
        n, holds, against = len(table), counts.get("holds", 0), counts.get("contradicted", 0)
        verdict = "mixed" if holds and against else "undecided"
        if holds >= self.needed * n and not against:
            verdict = "holds"
        elif against >= self.needed * n and not holds:
            verdict = "contradicted"
        first = table.iloc[0]
        analyses = "in both analyses" if n == 2 else f"in all {n} analyses"
        if holds < n:
            analyses = f"in {holds} of {n} analyses{_hinge(table)}"
        numbers = first[["value", "low", "high", "smallest"]].astype(float)
        numbers["least"], numbers["most"] = table["value"].min(), table["value"].max()
        numbers = SCALES[self.scale](numbers)
        words = {**numbers, **first[["n", "p"]], "analyses": analyses, "against": against, "of": n}
        network = table["specification"].str.contains("setting: network")
        for setting, part in {"heads": table[~network], "networks": table[network]}.items():
            held, opposed = ((part["verdict"] == told).sum() for told in ("holds", "contradicted"))
            words[setting] = f"in {held} of {len(part)} and the opposite in {opposed}"
        said = self.says.get(verdict, self.says["undecided"])
        if against and "{against}" not in said:
            said += " The opposite of the claim is significant in {against} of {of} analyses."
        return {
            "claim": self.name,
            "notebook": self.notebook,
            "published": self.published,
            **numbers[["value", "low", "high"]],
            "n": first["n"],
            "units": table["n"].max(),
            "smallest": numbers["smallest"],
            "holds": int(holds),
            "contradicted": int(against),
            "of": n,
            "verdict": verdict,
            "sentence": SAME.sub(r"\1", said.format(**words)),
        }


def choices_of(table: pd.DataFrame) -> pd.DataFrame:
    """The choices behind each row of a table of ``Claim.evaluate``, a column an axis."""
    words = table["specification"].str.split(", ")
    return pd.DataFrame([dict(part.split(": ") for part in row if part != "–") for row in words])


def _hinge(table: pd.DataFrame) -> str:
    """The choice that tells most (by its correlation with holding): in how many specifications the
    claim holds with it and without it; nothing where no choice makes a difference.
    """
    choices, holds = choices_of(table), (table["verdict"] == "holds").to_numpy()
    hinges = [(0.0, "")]
    for axis in choices:
        each = choices[axis].unique()
        for choice in each if 1 < len(each) <= MANY else ():
            if choice in ("none", "nothing"):  # to leave nothing out is no reason
                continue
            chosen = (choices[axis] == choice).to_numpy()
            gap = chosen.std() * abs(holds[chosen].mean() - holds[~chosen].mean())
            own, rest = (f"{holds[part].sum()} of {part.sum()}" for part in (chosen, ~chosen))
            how = (axis if axis.startswith("without") else f"with {axis} =").replace("_", " ")
            hinges.append((gap, f" ({own} {how} {choice}, {rest} otherwise)"))
    gap, words = max(hinges, key=lambda hinge: hinge[0])
    return words if gap else ""


CLAIMS: dict[str, Claim] = {}
_SAID = tomllib.loads(Path(__file__).with_name("claims.toml").read_text(encoding="utf-8"))


def claim(
    name: str = "",
    *,
    side: Literal["above", "below", "within"] = "above",
    null: float = 0.0,
    margin: float = 0.0,
    needed: float = MOST,
    given: Callable[[], list[dict[str, Any]]] | None = None,
    **axes: Sequence[Any],
) -> Callable[[Callable[..., Estimate]], Callable[..., Estimate]]:
    """Register a function as the statistic of a claim, which has its name if it has no other.

    What it says is in ``claims.toml``; ``axes`` are the choices of each of its arguments.
    """

    def register(statistic: Callable[..., Estimate]) -> Callable[..., Estimate]:
        called = name or statistic.__name__.replace("_", "-")
        if given is None and list(inspect.signature(statistic).parameters) != list(axes):
            taken = inspect.signature(statistic)
            raise ValueError(f"{called} takes {taken}, but axes are {[*axes]}")
        said = {"published": "–", "scale": "", **_SAID[called]}
        CLAIMS[called] = Claim(
            called, statistic, axes, given, side=side, null=null, margin=margin, needed=needed,
            notebook=said.pop("notebook"), published=said.pop("published"),
            scale=said.pop("scale"), says=said,
        )  # fmt: skip
        return statistic

    return register
