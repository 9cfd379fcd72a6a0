"""All inequalities on thousands of random problems: comparisons, violations, tightest ratios.

Fails if a single comparison violates its bound.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import head_checks, quadratic_checks, quadratics
from benchmarks.classical_checks import classical
from benchmarks.quadratic_checks import Comparison
from lib import paths
from lib.theory import problems

#: What counts as a violation: more than this share above the bound, plus this much.
RELATIVE, ABSOLUTE = 1e-9, 1e-12


def tally(comparison: Comparison) -> dict[str, object]:
    """One row: theorem, comparisons, problems, violations, ratio (largest measured / bound).

    What is NaN on either side is not compared, nor a bound that is infinite; a measured value that
    is infinite is a violation. The ratio looks only at bounds above 1e-8, below which rounding
    decides.
    """
    shape = np.broadcast_shapes(comparison.measured.shape, comparison.bound.shape)
    ratio = 0.0
    measured, bound = (np.broadcast_to(x, shape) for x in comparison[1:])
    known = ~np.isnan(measured) & np.isfinite(bound)
    above = measured[known] > bound[known] * (1 + RELATIVE) + ABSOLUTE
    large = known & (bound > 1e-8)
    if large.any():
        ratio = float((measured[large] / bound[large]).max())
    return {
        "theorem": comparison.theorem,
        "comparisons": int(known.sum()),
        "problems": int(known.reshape(len(known), -1).any(-1).sum()),
        "violations": int(above.sum()),
        "ratio": ratio,
    }


def full_tuning(rng: np.random.Generator) -> Iterator[Comparison]:
    """T1–T4 on quadratics: several sizes, own and shared eigenvectors, near and far starts."""
    for normalization in ("N1", "N2"):
        for count, n, d, smallest, shared, distance in (
            (60, 4, 1, 0.1, False, 0.0),
            (60, 8, 3, 0.3, False, 1.0),
            (40, 16, 4, 0.02, True, 10.0),
            (40, 12, 5, 0.05, False, 30.0),
            (60, 6, 3, 0.0, True, 3.0),
            (600, 20, 2, 0.1, False, 1.0),
        ):
            drawn = quadratics.draw(rng, count, n, d, smallest, shared=shared, distance=distance)
            # Many minimisers, for T3; the way there is compared on the other problems.
            steps = (0.5,) if count == 600 else quadratic_checks.FRACTIONS
            times = (1, 4, 16) if count == 600 else quadratic_checks.TIMES
            yield from quadratic_checks.full_tuning(drawn, normalization, steps, times)


def not_quadratic(rng: np.random.Generator) -> Iterator[Comparison]:
    """T5, and T1 with the regulariser's curvature, on ℓ2-logistic problems."""
    for normalization in ("N1", "N2"):
        for n, d, regularization in ((16, 1, 0.02), (16, 2, 0.1), (24, 3, 0.3)):
            z = 2 * problems.separable(rng, 60, n, d, 0.05)
            z *= rng.choice([1, 1, -1], (*z.shape[:-1], 1))  # not separable: more curvature
            offset = problems.directions(rng, 60, d) * rng.uniform(0, 0.3, (60, 1))
            yield from quadratic_checks.local_logistic(
                z, regularization, offset, normalization, times=quadratic_checks.TIMES[:12]
            )


def limits(rng: np.random.Generator) -> Iterator[Comparison]:
    """H1 to H9′: maximum-margin heads."""
    for n, d, gap in ((3, 2, 0.2), (5, 2, 0.05), (6, 3, 0.1), (10, 3, 0.02), (16, 6, 0.1)):
        yield from head_checks.limit_heads(problems.separable(rng, 4800, n, d, gap))


def finite_time(rng: np.random.Generator) -> Iterator[Comparison]:
    """H11–H16: gradient descent on heads, both losses and normalisations."""
    for loss in ("logistic", "exponential"):
        for normalization in ("N1", "N2"):
            for sets, n, d, gap in ((600, 6, 3, 0.4), (100, 12, 4, 0.1), (40, 24, 5, 0.05)):
                z = problems.separable(rng, sets, n, d, gap)
                yield from head_checks.descending_heads(z, loss, normalization)
    for normalization in ("N1", "N2"):
        z = problems.separable(rng, 200, 6, 3, 0.3)
        start = problems.directions(rng, 200, 6, 3) * rng.uniform(0.05, 1, (200, 6, 1))
        yield from head_checks.started_heads(z, start, normalization)


def seeds(rng: np.random.Generator) -> Iterator[Comparison]:
    """H17–H19: heads from different starts."""
    for n, d, gap, size in ((6, 2, 0.3, 0.5), (12, 4, 0.1, 0.1), (20, 6, 0.2, 1.0)):
        z = problems.separable(rng, 200, n, d, gap)
        yield from head_checks.seeds(z, rng.normal(size=(200, 6, d)) * size)


def soft(rng: np.random.Generator) -> Iterator[Comparison]:
    """S0, S1, S2: soft margins, separable and not."""
    for n, d, gap in ((6, 2, 0.1), (12, 4, 0.05)):
        z = problems.separable(rng, 1500, n, d, gap)
        z[::10, 0] *= -1
        yield from head_checks.soft_heads(z, (0.003, 0.02, 0.1, 0.5, 2.0, 8.0, 40.0, 200.0))


#: The slowest first. The position of a name among the sorted ones is part of its seed.
FAMILIES: dict[str, Callable[[np.random.Generator], Iterable[Comparison]]] = {
    "classical": classical,
    "finite_time": finite_time,
    "limits": limits,
    "soft": soft,
    "full_tuning": full_tuning,
    "not_quadratic": not_quadratic,
    "seeds": seeds,
}


def verify(family: str, seed: int) -> pd.DataFrame:
    """Tallies of one family of problems, in the order of the theorems."""
    rng = np.random.default_rng([seed, sorted(FAMILIES).index(family)])
    return pd.DataFrame([tally(comparison) for comparison in FAMILIES[family](rng)])


def verify_all(seed: int = 0, workers: int = 2) -> pd.DataFrame:
    """The table over all families: one row a theorem."""
    with ProcessPoolExecutor(workers) as pool:
        tables = list(pool.map(verify, FAMILIES, [seed] * len(FAMILIES)))
    rows = pd.concat(tables).groupby("theorem", sort=False)
    table = rows.agg({"comparisons": "sum", "problems": "sum", "violations": "sum", "ratio": "max"})
    return table.loc[sorted(table.index, key=_order)].reset_index()


def _order(theorem: str) -> tuple[bool, str, int, str]:
    """Our own theorems first, by letter and number, then the classical ones."""
    own = re.match(r"([THS])(\d+)", theorem)
    return (False, own[1], int(own[2]), theorem) if own else (True, "", 0, theorem)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the random problems (0)")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    parser.add_argument("--out", type=Path, default=paths.DATA / "benchmarks", help="folder")
    arguments = parser.parse_args()
    if arguments.workers < 1 or arguments.seed < 0:
        parser.error("--workers is at least 1, --seed at least 0")
    began = time.perf_counter()
    table = verify_all(arguments.seed, arguments.workers)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    print(
        f"{table.comparisons.sum():,} comparisons, {table.violations.sum()} violations beyond "
        f"{RELATIVE:g} of the bound + {ABSOLUTE:g}; {time.perf_counter() - began:.0f} s"
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out / "bounds_verified.csv", index=False, float_format="%.6g")
    raise SystemExit(int(table.violations.sum() > 0))


if __name__ == "__main__":
    main()
