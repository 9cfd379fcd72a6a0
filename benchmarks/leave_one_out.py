"""Benchmark of batched leave-one-out against plain loops, on one thread and in one run.

    python -m benchmarks.leave_one_out                # all sizes, about two minutes
    python -m benchmarks.leave_one_out --sizes 50     # one size, for a look

The task: the run on the whole set and all n runs without one example, by gradient descent. Heads:
logistic loss, 10 dimensions, 200 steps. Quadratics: 5 dimensions, 60 steps, with the largest
gradient of any example along the way, which the bounds need. Every way is checked to give the same
weights. Nothing here is a test: ratios depend on the machine.
"""

import argparse
import os

# Before numpy is imported: BLAS reads it once.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import quadratics
from lib import paths
from lib.theory import descent, problems

HEAD_STEPS, HEAD_RATE, QUADRATIC_STEPS, QUADRATIC_RATE = 200, 1.0, 60, 0.3
#: The loop over torch is timed on so many of its runs, and scaled to all.
TORCH_RUNS = 3


def loop_of_heads(z: np.ndarray) -> np.ndarray:
    """One run after the other, each as plain numpy as it gets."""
    found = np.empty((len(z) + 1, z.shape[1]))
    for i in range(-1, len(z)):
        keep = z if i < 0 else np.delete(z, i, 0)
        w = np.zeros(z.shape[1])
        for _ in range(HEAD_STEPS):
            w = w + HEAD_RATE / len(keep) * ((1 / (1 + np.exp(keep @ w))) @ keep)
        found[i + 1] = w
    return found


def torch_heads(z: np.ndarray) -> np.ndarray:
    """The first ``TORCH_RUNS`` runs with autograd and torch's own optimiser."""
    found = []
    for i in range(-1, TORCH_RUNS - 1):
        keep = torch.from_numpy(z if i < 0 else np.delete(z, i, 0))
        w = torch.nn.Parameter(torch.zeros(z.shape[1], dtype=torch.float64))
        optimizer = torch.optim.SGD([w], lr=HEAD_RATE)
        for _ in range(HEAD_STEPS):
            optimizer.zero_grad()
            torch.nn.functional.softplus(-(keep @ w)).mean().backward()
            optimizer.step()
        found.append(w.detach().numpy())
    return np.array(found)


def batched_heads(z: np.ndarray) -> np.ndarray:
    """All runs together."""
    return descent.head_descent(z[None], HEAD_RATE, [HEAD_STEPS]).weights[0, 0, 0]


def loop_of_quadratics(problem: quadratics.Quadratics) -> np.ndarray:
    """One run after the other, with all gradients at each step for the largest of them."""
    hessians, centres, start = (part[0] for part in problem)
    found = np.empty((len(centres) + 1, len(start)))
    for i in range(-1, len(centres)):
        share = np.full(len(centres), 1 / (len(centres) - (i >= 0)))
        share[i] *= i < 0
        w, largest = start.copy(), 0.0
        for _ in range(QUADRATIC_STEPS):
            each = np.einsum("nij,nj->ni", hessians, w - centres)
            largest = max(largest, (each**2).sum(1).max())
            w = w - QUADRATIC_RATE * (share @ each)
        found[i + 1] = w
    return found


def batched_quadratics(problem: quadratics.Quadratics) -> np.ndarray:
    """All runs together."""
    return quadratics.descend(problem, QUADRATIC_RATE, [QUADRATIC_STEPS]).weights[0, 0, 0]


def timed(work: Callable[[], np.ndarray], repeats: int) -> tuple[float, np.ndarray]:
    """(seconds of the fastest of ``repeats``, result)."""
    best = np.inf
    for _ in range(repeats):
        began = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - began)
    return best, result


def rows_of(n: int, rng: np.random.Generator) -> list[dict[str, object]]:
    """All ways at one size; every result is compared with that of the plain loop."""
    z = problems.separable(rng, 1, n, 10, 0.1)[0]
    problem = quadratics.draw(rng, 1, n, 5, 0.1)
    loop, weights = timed(lambda: loop_of_heads(z), 5)
    found = [("heads", "plain loop", loop, 0.0)]
    seconds, result = timed(lambda: batched_heads(z), 25)
    found.append(("heads", "batched", seconds, result - weights))
    seconds, result = timed(lambda: torch_heads(z), 1)
    scaled = seconds * (n + 1) / TORCH_RUNS
    found.append(("heads", "loop of torch's SGD (scaled)", scaled, result - weights[:TORCH_RUNS]))
    loop_q, weights = timed(lambda: loop_of_quadratics(problem), 2)
    found.append(("quadratics", "plain loop", loop_q, 0.0))
    seconds, result = timed(lambda: batched_quadratics(problem), 10)
    found.append(("quadratics", "batched", seconds, result - weights))
    return [
        {
            "task": task,
            "n": n,
            "way": way,
            "seconds": seconds,
            "faster_than_loop": (loop if task == "heads" else loop_q) / seconds,
            "largest_difference": float(np.abs(off).max()),
        }
        for task, way, seconds, off in found
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[25, 50, 100, 200, 400])
    parser.add_argument("--out", type=Path, default=paths.DATA / "benchmarks", help="folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    table = pd.DataFrame([row for n in arguments.sizes for row in rows_of(n, rng)])
    if table["largest_difference"].max() >= 1e-9:
        raise SystemExit(f"the ways do not give the same weights:\n{table}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.out / "bounds.csv", index=False, float_format="%.4g")
    ratios = table.pivot(index=["task", "way"], columns="n", values="faster_than_loop")
    ratios = ratios.map("{:.3g}".format)
    head = ["task", "way", *[f"n = {n}" for n in ratios.columns]]
    lines = [
        head,
        ["---"] * len(head),
        *([*key, *row] for key, row in zip(ratios.index, ratios.to_numpy(), strict=True)),
    ]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "torch"))
    text = (
        "# Leave-one-out runs, all together and one after the other\n\n"
        f"{platform.machine()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at "
        f"the end; python {platform.python_version()}, {versions}. Made by "
        "`python -m benchmarks.leave_one_out`.\n\n"
        "How many times as fast as the plain loop in numpy, which does the same to the same "
        "numbers:\n\n"
        + "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
        + "\n\nThe seconds are in `bounds.csv`.\n"
    )
    (arguments.out / "bounds.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
