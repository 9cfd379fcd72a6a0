"""The classical stability bounds against exact measurements on random problems.

Expectations over the drawn indices are exact: every sequence of indices is followed. The largest
loss difference is over test points that include the two along the difference of the parameters.
Problems are random and small, labelled simulated wherever they are shown.
"""

import numpy as np

from benchmarks import classical_bounds as bounds
from benchmarks.coupled import LOSSES, Objective, Points, all_paths, differences, with_replaced
from benchmarks.minimizers import leave_one_out_logistic
from benchmarks.quadratic_checks import Comparison

PROBLEMS = 100
SETTINGS = 6


def classical(rng: np.random.Generator) -> list[Comparison]:
    """Every inequality of ``classical_bounds``, each on at least 100 problems, 20,000 times."""
    return [
        *expansion(rng),
        *sgd_convex(rng),
        *sgd_strongly_convex(rng),
        *sgd_decaying(rng),
        *sgd_nonconvex(rng),
        *regularized(rng),
    ]


# Random problems.


def _ball(rng: np.random.Generator, radius: np.ndarray, n: int, d: int) -> np.ndarray:
    """(P, n, d) in balls of radius (P,), about half of the points on the sphere."""
    x = rng.standard_normal((len(radius), n, d))
    x /= np.sqrt((x**2).sum(-1, keepdims=True))
    inside = rng.random((len(radius), n)) ** (1 / d)
    length = np.where(rng.random((len(radius), n)) < 0.5, 1.0, inside)
    return x * (length * radius[:, None])[..., None]


def _points(rng: np.random.Generator, radius: np.ndarray, n: int, d: int, loss: str) -> Points:
    turned = loss == "cosine"
    y = rng.uniform(0, 2 * np.pi, (len(radius), n)) if turned else np.zeros((len(radius), n))
    return Points(_ball(rng, radius, n, d), y)


def _replacements(
    rng: np.random.Generator, sample: Points, radius: np.ndarray, loss: str
) -> Points:
    """For each example one to replace it: random, or as opposite as it can be (half of them)."""
    other = _points(rng, radius, sample.x.shape[-2], sample.x.shape[-1], loss)
    norm = np.sqrt((sample.x**2).sum(-1, keepdims=True))
    opposite = -sample.x / norm * radius[:, None, None]
    turned = rng.random(sample.y.shape) < 0.5
    y = np.where(turned, sample.y, other.y)
    return Points(np.where(turned[..., None], opposite, other.x), y)


def _measure(
    rng: np.random.Generator,
    objective: Objective,
    loss: str,
    n: int,
    rates: np.ndarray,
    radius: np.ndarray,
    start: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(P, R, n, T) parameter and loss differences after each step; rates (P, R, T)."""
    sample = _points(rng, radius, n, start.shape[-1], loss)
    swapped = _replacements(rng, sample, radius, loss)
    tests = _points(rng, radius, 4, start.shape[-1], loss)
    tests = Points(*(np.concatenate(a, 1) for a in zip(tests, sample, strict=True)))
    runs = with_replaced(sample, swapped)
    batched = Objective(
        objective.loss,
        np.asarray(objective.regularization)[..., None],
        np.asarray(objective.reach)[..., None],
    )
    levels = all_paths(batched, runs.along(1), rates[:, :, None], start[:, None, None])
    found = [differences(batched, level, tests.along(1), radius[:, None]) for level in levels]
    parameters, loss_level = (np.stack(a, -1) for a in zip(*found, strict=True))
    return parameters, loss_level


def _problems(rng: np.random.Generator, d: int) -> tuple[np.ndarray, np.ndarray]:
    radius = rng.uniform(0.5, 2, PROBLEMS)
    start = rng.standard_normal((PROBLEMS, d)) * (rng.random((PROBLEMS, 1)) < 0.5)
    return radius, start


def _rates(rng: np.random.Generator, limit: np.ndarray, steps: int) -> np.ndarray:
    """(P, R, T) below limits (P,) or (P, R): half of the rows constant, the others any."""
    limit = np.broadcast_to(limit.T, (SETTINGS, PROBLEMS)).T[..., None]
    share = rng.uniform(0.02, 1, (PROBLEMS, SETTINGS, steps))
    share[:, : SETTINGS // 2] = rng.uniform(0.02, 1, (PROBLEMS, SETTINGS // 2, 1))
    share[:, 0] = 1
    return limit * share


def _flat(checks: dict[str, list[tuple[np.ndarray, np.ndarray]]]) -> list[Comparison]:
    """Blocks of problems of different sizes as one table a check, filled up with NaN."""
    found = []
    for name, blocks in checks.items():
        pairs = [np.broadcast_arrays(*pair) for pair in blocks]
        rows = [[a.reshape(len(a), -1) for a in pair] for pair in pairs]
        width = max(a.shape[1] for a, _ in rows)
        columns = [
            np.concatenate(
                [np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=np.nan) for a in side]
            )
            for side in zip(*rows, strict=True)
        ]
        found.append(Comparison(name, *columns))
    return found


# Stochastic gradients: (loss, n, T, d) of each block of problems.


def sgd_convex(rng: np.random.Generator) -> list[Comparison]:
    """Theorem 3.8 of Hardt et al. at both levels, after every step of every run."""
    checks: dict[str, list] = {"Hardt 3.8, parameters": [], "Hardt 3.8, loss": []}
    for loss, n, steps, d in (
        ("linear", 2, 5, 2),
        ("smooth hinge", 3, 4, 3),
        ("logistic", 4, 4, 3),
    ):
        radius, start = _problems(rng, d)
        objective = Objective(LOSSES[loss])
        smoothness = objective.smoothness(radius)
        limit = 2 / smoothness if LOSSES[loss].bend else rng.uniform(0.5, 5, PROBLEMS)
        rates = _rates(rng, limit, steps)
        measured = _measure(rng, objective, loss, n, rates, radius, start)
        # The statement for every T: rates after step T count as zero.
        until = rates[:, :, None, None] * np.tri(steps)
        constants = dict(
            n=n,
            lipschitz=objective.lipschitz(radius)[:, None, None, None],
            smoothness=smoothness[:, None, None, None],
            rates=until,
        )
        levels = (bounds.sgd_convex_parameters(**constants), bounds.sgd_convex_loss(**constants))
        for blocks, found, bound in zip(checks.values(), measured, levels, strict=True):
            blocks.append((found, bound))
    return _flat(checks)


def _regularizers(
    rng: np.random.Generator, loss: str, radius: np.ndarray
) -> tuple[Objective, dict[str, np.ndarray]]:
    """(P, R) regularisers and balls, with the constants of the loss on each ball."""
    regularization = np.exp(rng.uniform(np.log(0.02), 0, (PROBLEMS, SETTINGS)))
    reach = rng.uniform(0.3, 3, (PROBLEMS, SETTINGS))
    objective = Objective(LOSSES[loss], regularization, reach)
    constants = {
        "lipschitz": objective.lipschitz(radius[:, None])[..., None, None],
        "smoothness": objective.smoothness(radius[:, None])[..., None, None],
        "curvature": regularization[..., None, None],
    }
    return objective, constants


CURVED = (("smooth hinge", 2, 5, 2), ("logistic", 3, 4, 3), ("smooth hinge", 4, 4, 3))


def _inside(start: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """The starts (P, d), pulled into the smallest ball of each problem."""
    norm = np.sqrt((start**2).sum(-1, keepdims=True))
    return start * np.minimum(1, reach.min(1, keepdims=True) / np.maximum(norm, 1e-300))


def sgd_strongly_convex(rng: np.random.Generator) -> list[Comparison]:
    """Theorem 3.9 of Hardt et al. at both levels, after every step of every run."""
    checks: dict[str, list] = {"Hardt 3.9, parameters": [], "Hardt 3.9, loss": []}
    for loss, n, steps, d in CURVED:
        radius, start = _problems(rng, d)
        objective, constants = _regularizers(rng, loss, radius)
        rate = rng.uniform(0.05, 1, (PROBLEMS, SETTINGS))
        rate[:, 0] = 1
        rate = rate / constants["smoothness"][..., 0, 0]
        rates = np.repeat(rate[..., None], steps, -1)
        measured = _measure(rng, objective, loss, n, rates, radius, _inside(start, objective.reach))
        known = dict(n=n, rate=rate[..., None, None], **constants)
        levels = (
            bounds.sgd_strongly_convex_parameters(**known),
            bounds.sgd_strongly_convex_loss(**known),
        )
        for blocks, found, bound in zip(checks.values(), measured, levels, strict=True):
            blocks.append((found, bound))
    return _flat(checks)


def sgd_decaying(rng: np.random.Generator) -> list[Comparison]:
    """Theorem 3.10 of Hardt et al., α_t = 1/(γt), after every step of every run."""
    checks: dict[str, list] = {"Hardt 3.10, loss": []}
    for loss, n, steps, d in CURVED:
        radius, start = _problems(rng, d)
        objective, constants = _regularizers(rng, loss, radius)
        rates = 1 / (objective.regularization[..., None] * np.arange(1, steps + 1))
        start = _inside(start, objective.reach)
        _, measured = _measure(rng, objective, loss, n, rates, radius, start)
        furthest = -radius[:, None] * objective.reach
        highest = objective.loss.value(furthest)
        highest = highest + objective.regularization * np.square(objective.reach) / 2
        bound = bounds.sgd_decaying_loss(n=n, highest=highest[..., None, None], **constants)
        checks["Hardt 3.10, loss"].append((measured, bound))
    return _flat(checks)


def sgd_nonconvex(rng: np.random.Generator) -> list[Comparison]:
    """Theorem 3.12 of Hardt et al., α_t = c/t, after every step of every run."""
    checks: dict[str, list] = {"Hardt 3.12, loss": []}
    for n, steps, d in ((2, 5, 2), (3, 4, 3), (4, 4, 3)):
        radius, start = _problems(rng, d)
        objective = Objective(LOSSES["cosine"])
        scale = np.exp(rng.uniform(np.log(0.05), np.log(30), (PROBLEMS, SETTINGS)))
        rates = scale[..., None] / np.arange(1, steps + 1)
        _, measured = _measure(rng, objective, "cosine", n, rates, radius, start)
        bound = bounds.sgd_nonconvex_loss(
            n=n,
            lipschitz=objective.lipschitz(radius)[:, None, None, None],
            smoothness=objective.smoothness(radius)[:, None, None, None],
            steps=np.arange(1, steps + 1),
            scale=scale[..., None, None],
        )
        checks["Hardt 3.12, loss"].append((measured, bound))
    return _flat(checks)


# One step.


def expansion(rng: np.random.Generator, pairs: int = 40) -> list[Comparison]:
    """Lemma 3.7 of Hardt et al., ‖G(w) − G(v)‖ against the factor times ‖w − v‖, random pairs."""
    radius = rng.uniform(0.5, 2, PROBLEMS)
    curvature = np.exp(rng.uniform(np.log(0.02), 0, PROBLEMS))
    cases = (
        ("Lemma 3.7, smooth", "cosine", 0.0, lambda b, g: 4 / b, bounds.expansion_smooth),
        ("Lemma 3.7, convex", "smooth hinge", 0.0, lambda b, g: 2 / b, bounds.expansion_convex),
        ("Lemma 3.7, strongly convex", "smooth hinge", curvature, lambda b, g: 2 / (b + g),
         bounds.expansion_strongly_convex),
        ("Lemma 3.7, α ≤ 1/β", "smooth hinge", curvature, lambda b, g: 1 / b,
         bounds.expansion_small_rate),
    )  # fmt: skip
    found = []
    for name, loss, regularization, limit, factor in cases:
        objective = Objective(LOSSES[loss], np.asarray(regularization)[..., None])
        points = _points(rng, radius, 1, 3, loss)
        smoothness = LOSSES[loss].bend * radius**2 + regularization
        rates = _rates(rng, limit(smoothness, regularization), 1)[..., 0]
        ends = rng.standard_normal((2, PROBLEMS, 1, pairs, 3))
        ends[1] = ends[0] + (ends[1] - ends[0]) * rng.choice([0.1, 1], (PROBLEMS, 1, pairs, 1))
        moved = [objective.step(end, points.along(1), rates)[..., 0, :] for end in ends]
        before, after = (np.sqrt(((a - b) ** 2).sum(-1)) for a, b in (ends, moved))
        constants = {"rate": rates[..., None], "smoothness": smoothness[:, None, None]}
        if np.ndim(regularization):
            constants["curvature"] = curvature[:, None, None]
        found.append(Comparison(name, after, factor(**constants) * before))
    return found


# Minimisers.


def regularized(rng: np.random.Generator) -> list[Comparison]:
    """Theorem 22 of Bousquet & Elisseeff on the ℓ2-logistic loss, and the renormalised variant."""
    checks: dict[str, list] = {
        "Bousquet–Elisseeff 22, norm": [],
        "Bousquet–Elisseeff 22, norm by prediction": [],
        "Bousquet–Elisseeff 22, loss": [],
        "Bousquet–Elisseeff 22 renormalised, norm": [],
    }
    for n in (4, 12, 40):
        radius = rng.uniform(0.5, 2, PROBLEMS)
        z = _ball(rng, radius, n, 3)
        regularization = np.exp(rng.uniform(np.log(1e-3), 0, (PROBLEMS, 4)))
        # λ‖f‖² of Bousquet and Elisseeff is (2λ/2)‖w‖² of the solver.
        for normalization in ("N2", "N1"):
            full, without = leave_one_out_logistic(
                z[:, None], regularization=2 * regularization, normalization=normalization
            )
            known = dict(
                n=n, radius=radius[:, None, None], regularization=regularization[..., None]
            )
            change = full[..., None, :] - without
            size = np.sqrt((change**2).sum(-1))
            if normalization == "N1":
                norm = np.sqrt((without**2).sum(-1))
                bound = bounds.regularized_norm_renormalized(norm_without=norm, **known)
                checks["Bousquet–Elisseeff 22 renormalised, norm"].append((size, bound))
                continue
            moved = np.abs((change * z[:, None]).sum(-1))
            by_prediction = bounds.regularized_norm_by_prediction(
                n=n, change=moved, regularization=regularization[..., None]
            )
            found = (size, size, _largest_gap(z[:, None], full, without, radius))
            levels = (
                bounds.regularized_norm(**known), by_prediction, bounds.regularized_loss(**known)
            )  # fmt: skip
            for blocks, a, b in zip(list(checks.values())[:3], found, levels, strict=True):
                blocks.append((a, b))
    return _flat(checks)


def _largest_gap(
    z: np.ndarray, full: np.ndarray, without: np.ndarray, radius: np.ndarray
) -> np.ndarray:
    """(P, R, n) largest loss difference at the left-out example and along ± the difference."""
    change = full[..., None, :] - without
    x = radius[:, None, None, None] * change / np.sqrt((change**2).sum(-1, keepdims=True))
    value = LOSSES["logistic"].value
    gaps = [
        np.abs(value((point * full[..., None, :]).sum(-1)) - value((point * without).sum(-1)))
        for point in (x, -x, np.broadcast_to(z, change.shape))
    ]
    return np.max(gaps, 0)
