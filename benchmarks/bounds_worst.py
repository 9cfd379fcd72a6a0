"""Search for the problem on which a bound is tightest: many climbers, each changing its problem.

The worst problems found replace earlier ones that were not as bad; ``ratios`` recomputes what any
of them reaches.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks import head_checks, quadratic_checks
from benchmarks.quadratic_checks import Comparison
from benchmarks.quadratics import Quadratics
from lib import paths

Array = npt.NDArray[np.float64]
FOLDER = paths.DATA / "benchmarks"
TIMES = (1, 2, 4, 8, 16, 32, 64, 128)


class Space(NamedTuple):
    """Problems as flat vectors: how many numbers, and the comparisons of vectors (count, size)."""

    size: int
    compare: Callable[[Array], Iterator[Comparison]]


def _quadratics(vectors: Array, n: int, d: int) -> Quadratics:
    factors, centres, start = np.split(vectors, [n * d * d, n * d * (d + 1)], axis=-1)
    factors = factors.reshape(-1, n, d, d)
    hessians = factors @ factors.swapaxes(-1, -2) + 0.01 * np.eye(d)
    return Quadratics(hessians, centres.reshape(-1, n, d), start)


def _separable(vectors: Array, n: int, d: int) -> Array:
    """Any separable set, turned so that its plane is the first axis."""
    z = vectors.reshape(-1, n, d).copy()
    z[..., 0] = 0.02 + np.abs(z[..., 0])
    return z / np.linalg.norm(z, axis=-1).max(-1)[:, None, None]


def _full(n: int, d: int, normalization: str) -> Space:
    return Space(
        n * d * d + n * d + d,
        lambda v: quadratic_checks.full_tuning(_quadratics(v, n, d), normalization, times=TIMES),
    )


def _logistic(n: int, normalization: str) -> Space:
    def compare(v: Array) -> Iterator[Comparison]:
        z, offset = v[:, :-1].reshape(-1, n, 1), 0.2 * v[:, -1:]
        return quadratic_checks.local_logistic(z, 0.05, offset, normalization, times=TIMES[:6])

    return Space(n + 1, compare)


def _limit(n: int, d: int) -> Space:
    return Space(n * d, lambda v: head_checks.limit_heads(_separable(v, n, d)))


def _descent(n: int, d: int, loss: str, normalization: str) -> Space:
    return Space(
        n * d,
        lambda v: head_checks.descending_heads(
            _separable(v, n, d), loss, normalization, times=TIMES
        ),
    )


def _started(n: int, d: int) -> Space:
    def compare(v: Array) -> Iterator[Comparison]:
        z, start = _separable(v[:, : n * d], n, d), v[:, n * d :].reshape(-1, 2, d)
        return head_checks.started_heads(z, start, "N2", times=TIMES)

    return Space(n * d + 2 * d, compare)


def _seeds(n: int, d: int) -> Space:
    def compare(v: Array) -> Iterator[Comparison]:
        z, start = _separable(v[:, : n * d], n, d), v[:, n * d :].reshape(-1, 3, d)
        return head_checks.seeds(z, start, times=(*TIMES, 512))

    return Space(n * d + 3 * d, compare)


def _soft(n: int, d: int) -> Space:
    scales = (0.01, 0.1, 1.0, 10.0)
    return Space(n * d, lambda v: head_checks.soft_heads(_separable(v, n, d), scales))


#: Where to look for each theorem: small problems suffice for the constants.
SPACES: dict[str, dict[str, Space]] = {
    "quadratic": {
        f"quadratic n={n} d={d} {kind}": _full(n, d, kind)
        for n, d in ((2, 1), (3, 2))
        for kind in ("N1", "N2")
    },
    "logistic": {f"logistic n=3 {kind}": _logistic(3, kind) for kind in ("N1", "N2")},
    "limit": {f"limit n={n} d={d}": _limit(n, d) for n, d in ((2, 2), (3, 2), (4, 3), (6, 3))},
    "descent": {
        f"{loss} n={n} d=2 {kind}": _descent(n, 2, loss, kind)
        for n in (2, 4)
        for loss in ("logistic", "exponential")
        for kind in ("N1", "N2")
    },
    "started": {"started n=3 d=2": _started(3, 2)},
    "seeds": {"seeds n=2 d=2": _seeds(2, 2)},
    "soft": {"soft n=2 d=2": _soft(2, 2), "soft n=4 d=2": _soft(4, 2)},
}
SPACE_OF = {
    **dict.fromkeys(("T1", "T1c", "T2", "T2′", "T3", "T4"), "quadratic"),
    **dict.fromkeys(("T5", "T1 (logistic)"), "logistic"),
    **dict.fromkeys(("H1", "H3", "H7", "H7u", "H8", "H9", "H9′"), "limit"),
    **dict.fromkeys(("H11", "H13", "H15", "H15a", "H15b", "H15b (norm)", "H16", "H16′"), "descent"),
    "H16 (w_0 ≠ 0)": "started",
    **dict.fromkeys(("H17", "H18", "H18 (norm)", "H18′", "H19"), "seeds"),
    **dict.fromkeys(("S0", "S1", "S2"), "soft"),
}


def ratios(space: Space, theorem: str, vectors: Array) -> Array:
    """The largest measured / bound of each problem, (count,); −inf where nothing applies."""
    best = np.full(len(vectors), -np.inf)
    for comparison in space.compare(vectors):
        if comparison.theorem == theorem:
            measured, bound = np.broadcast_arrays(comparison.measured, comparison.bound)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(bound > 1e-6, measured / bound, np.nan)
            ratio = np.where(np.isfinite(ratio), ratio, -np.inf).reshape(len(vectors), -1)
            best = np.maximum(best, ratio.max(-1))
    return best


def climb(
    space: Space, theorem: str, rng: np.random.Generator, climbers: int = 48, rounds: int = 250
) -> tuple[float, Array]:
    """The tightest ratio found and its problem, by random changes that are kept when they help.

    The size of each climber's changes grows by a half on success and shrinks by a tenth otherwise.
    Now and then the worse half goes on from the better half.
    """
    at = rng.normal(size=(climbers, space.size))
    value = ratios(space, theorem, at)
    size = np.full((climbers, 1), 0.5)
    for step in range(rounds):
        change = rng.normal(size=at.shape) * (rng.random(at.shape) < rng.uniform(0.1, 1))
        there = at + size * change
        new = ratios(space, theorem, there)
        up = new > value
        at[up], value[up] = there[up], new[up]
        size = np.clip(size * np.where(up, 1.5, 0.9)[:, None], 1e-6, 10)
        if step % 25 == 24:
            order = np.argsort(value)
            half = climbers // 2
            at[order[:half]], value[order[:half]] = at[order[half:]], value[order[half:]]
            size[order[:half]] = 0.3
    return float(value.max()), at[value.argmax()]


def search(theorem: str, seed: int, rounds: int) -> dict[str, dict[str, object]]:
    """The tightest ratio and its problem in every space in which a theorem can be tried."""
    rng = np.random.default_rng([seed, sorted(SPACE_OF).index(theorem)])
    found = {}
    for name, space in SPACES[SPACE_OF[theorem]].items():
        ratio, vector = climb(space, theorem, rng, rounds=rounds)
        if np.isfinite(ratio):
            problem = [float(f"{number:.12g}") for number in vector]
            found[name] = {"ratio": round(ratio, 6), "problem": problem}
    return found


def recomputed(theorem: str, path: Path = FOLDER / "bounds_worst.json") -> pd.DataFrame:
    """Of one theorem: space, ratio as stored, and the ratio that its problem reaches now."""
    entries = json.loads(path.read_text())[theorem]
    spaces = SPACES[SPACE_OF[theorem]]
    return pd.DataFrame(
        {
            "space": name,
            "stored": entry["ratio"],
            "now": ratios(spaces[name], theorem, np.array([entry["problem"]]))[0],
        }
        for name, entry in entries.items()
    )


def summary(worst: dict[str, dict[str, dict[str, object]]]) -> pd.DataFrame:
    """theorem, and the tightest ratio that the search found in any space, under N1 and N2."""
    rows = []
    for theorem, spaces in worst.items():
        row = {"theorem": theorem, "searched": max(entry["ratio"] for entry in spaces.values())}
        for kind in ("N1", "N2"):
            under = [entry["ratio"] for name, entry in spaces.items() if name.endswith(kind)]
            row[kind] = max(under, default=np.nan)
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=250, help="changes tried by a climber (250)")
    parser.add_argument("--seed", type=int, default=0, help="of the search (0)")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder")
    parser.add_argument("--only", nargs="+", metavar="THEOREM", help="some, such as T1 or H9'")
    arguments = parser.parse_args()
    if arguments.workers < 1 or arguments.seed < 0 or arguments.rounds < 1:
        parser.error("--workers and --rounds are at least 1, --seed at least 0")
    path = arguments.out / "bounds_worst.json"
    entries = json.loads(path.read_text()) if path.exists() else {}
    chosen = [name.replace("'", "′") for name in arguments.only or SPACE_OF]
    if unknown := set(chosen) - set(SPACE_OF):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SPACE_OF)}")
    count = len(chosen)
    with ProcessPoolExecutor(arguments.workers) as pool:
        found = pool.map(search, chosen, [arguments.seed] * count, [arguments.rounds] * count)
        for theorem, spaces in zip(chosen, found, strict=True):
            # A search that found less than an earlier one does not replace it.
            old = entries.setdefault(theorem, {})
            for name, entry in spaces.items():
                if name not in old or entry["ratio"] > old[name]["ratio"]:
                    old[name] = entry
            name, entry = max(old.items(), key=lambda item: item[1]["ratio"])
            print(f"{theorem:15s} {entry['ratio']:.4f}  {name}", flush=True)
    entries = {theorem: entries[theorem] for theorem in SPACE_OF if theorem in entries}
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text.replace('},"', '},\n"') + "\n")
    summary(entries).to_csv(path.with_suffix(".csv"), index=False)


if __name__ == "__main__":
    main()
