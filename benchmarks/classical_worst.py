"""Problems on which the classical bounds are attained, or nearly: how much smaller they could be.

One-dimensional and simulated. Where one example among many differs, the run that draws it exactly
once, at step s, is followed for every s; draws that hit it twice are left out. All differences
have one sign there, so that the measured value is a lower bound of the true one.
"""

import argparse

import numpy as np
import pandas as pd

from benchmarks import classical_bounds as bounds
from benchmarks.coupled import LOSSES, Objective, Points, all_paths, given_paths

#: (name, measured, bound).
Case = tuple[str, float, float]


def worst_cases() -> list[Case]:
    """A case for every inequality of ``classical_bounds``, named as in ``classical_checks``."""
    return [*_expansions(), *_convex(), *_strongly_convex(), _nonconvex(), *_regularized()]


def _expansions() -> list[Case]:
    top = np.pi + np.array([[[-5e-4]], [[5e-4]]])  # (1 − cos m)/2 is most concave at its maximum
    one = Points(np.ones((1, 1)), np.zeros(1))
    moved = Objective(LOSSES["cosine"]).step(top, one, np.asarray(2.0))
    smooth = bounds.expansion_smooth(rate=2.0, smoothness=0.5) * 1e-3
    cases = [("Lemma 3.7, smooth", float(abs(moved[1] - moved[0]).item()), float(smooth))]
    pair, rate = np.array([[[0.0]], [[1.0]]]), np.asarray(1e-3)
    apart = {}
    for regularization in (0.0, 1.0):
        moved = Objective(LOSSES["linear"], regularization).step(pair, one, rate)
        apart[regularization] = float(abs(moved[1] - moved[0]).item())
    known = {"rate": rate, "smoothness": 1.0, "curvature": 1.0}
    convex = bounds.expansion_convex(rate=rate, smoothness=0.0)
    return [
        *cases,
        ("Lemma 3.7, convex", apart[0.0], float(convex)),
        (
            "Lemma 3.7, strongly convex",
            apart[1.0],
            float(bounds.expansion_strongly_convex(**known)),
        ),
        ("Lemma 3.7, α ≤ 1/β", apart[1.0], float(bounds.expansion_small_rate(**known))),
    ]


def _convex(n: int = 3, steps: int = 4) -> list[Case]:
    # Linear losses: each draw of the differing example adds 2αB, and nothing is forgotten.
    x = np.ones((2, n, 1))
    x[1, 0] = -1
    runs = all_paths(
        Objective(LOSSES["linear"]), Points(x, np.zeros((2, n))), np.full(steps, 0.3), np.zeros(1)
    )
    *_, last = runs
    apart = float(abs(last[0] - last[1]).mean())
    known = dict(n=n, lipschitz=1.0, smoothness=0.0, rates=np.full(steps, 0.3))
    # f(w; z) = −w·z at z = 1 differs by as much as w does.
    return [
        ("Hardt 3.8, parameters", apart, float(bounds.sgd_convex_parameters(**known))),
        ("Hardt 3.8, loss", apart, float(bounds.sgd_convex_loss(**known))),
    ]


def _strongly_convex(n: int = 10**6, reach: float = 0.02, steps: int = 600) -> list[Case]:
    # f(w; a) = (w − a)²/2 with a = 0 for all but the example that differs, ±1; ball of radius R.
    objective = Objective(LOSSES["linear"], 1.0, reach)
    once = np.eye(steps, dtype=int)
    chance = (1 / n) * (1 - 1 / n) ** (steps - 1)
    points = Points(np.array([[[0.0], [1.0]], [[0.0], [-1.0]]]), np.zeros((2, 2)))
    steepest = 1 + reach
    found = []
    for rates in (np.full(steps, 0.01), 1 / np.arange(1, steps + 1)):
        *_, last = given_paths(objective, points, rates, np.zeros(1), once)
        # At the test point a = −1 the two losses differ by (w + 1)²/2 − (w' + 1)²/2 = w − w',
        # since w' = −w.
        found.append(float((last[0] - last[1]).sum() * chance))
    known = dict(n=n, lipschitz=steepest, smoothness=1.0, curvature=1.0)
    return [
        ("Hardt 3.9, parameters", found[0],
         float(bounds.sgd_strongly_convex_parameters(rate=0.01, **known))),
        ("Hardt 3.9, loss", found[0], float(bounds.sgd_strongly_convex_loss(rate=0.01, **known))),
        ("Hardt 3.10, loss", found[1],
         float(bounds.sgd_decaying_loss(highest=steepest**2 / 2, **known))),
    ]  # fmt: skip


def _nonconvex(n: int = 10**6, scale: float = 200.0) -> Case:
    # One large step: drawn with probability 1/n, the differing example moves the loss from 0 to 1.
    objective = Objective(LOSSES["cosine"])
    points = Points(np.ones((2, 1, 1)), np.array([[np.pi / 2], [-np.pi / 2]]))
    (last,) = all_paths(objective, points, np.array([scale]), np.zeros(1))
    test = Points(np.full((1, 1), np.pi / scale), np.full(1, np.pi / 2))
    ends = objective.values(last, test)[:, 0, 0]
    bound = bounds.sgd_nonconvex_loss(n=n, lipschitz=0.5, smoothness=0.5, steps=1, scale=scale)
    return "Hardt 3.12, loss", float(abs(ends[0] - ends[1]) / n), float(bound)


def _regularized(n: int = 5, regularization: float = 2.0) -> list[Case]:
    # Hinge losses with every margin below 1 are linear: the minimiser is mean(z)/(2λ).
    z = np.ones(n)
    z[0] = -1.0
    full = z.mean() / (2 * regularization)
    kept, averaged = z[1:].sum() / n / (2 * regularization), z[1:].mean() / (2 * regularization)
    if max(np.abs(full), np.abs(kept), np.abs(averaged)) >= 1:
        raise ValueError(f"regularization = {regularization} is too small: margins reach 1")
    known = dict(n=n, radius=1.0, regularization=regularization)
    apart, renormalized = float(abs(full - kept)), float(abs(full - averaged))
    by_prediction = bounds.regularized_norm_by_prediction(
        n=n, change=apart, regularization=regularization
    )
    bound = bounds.regularized_norm_renormalized(norm_without=abs(averaged), **known)
    name = "Bousquet–Elisseeff 22"
    return [
        (f"{name}, norm", apart, float(bounds.regularized_norm(**known))),
        (f"{name}, norm by prediction", apart, float(by_prediction)),
        (f"{name}, loss", apart, float(bounds.regularized_loss(**known))),
        (f"{name} renormalised, norm", renormalized, float(bound)),
    ]


def main() -> None:
    """Command line."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    table = pd.DataFrame(worst_cases(), columns=["inequality", "measured", "bound"])
    print(table.assign(ratio=table["measured"] / table["bound"]).to_string(index=False))


if __name__ == "__main__":
    main()
