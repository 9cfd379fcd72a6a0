"""Bounds of head tuning against measurements: given sets, every comparison that a theorem allows.

As ``quadratic_checks`` does for full fine-tuning. Quantities that can be attained exactly are
compared as squares without a unit, where rounding is of the size of 1e-15.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.quadratic_checks import FRACTIONS, TIMES, Comparison
from lib.theory import descent, head, margin
from lib.theory.assumptions import require

Array = npt.NDArray[np.float64]


def limit_heads(z: Array) -> Iterator[Comparison]:
    """H1, H3 and H7–H9′: maximum-margin heads with and without each example; z (sets, n, d).

    Raises ``Inapplicable`` if a set is not separable.
    """
    n = z.shape[1]
    full = margin.max_margin(z)
    require(full.margin > 0, "every set is separable", margin=full.margin)
    without = margin.max_margin_without(z, full)
    gamma, dual = full.margin[:, None], full.dual
    moved = np.linalg.norm(full.weights[:, None] - without.weights, axis=-1)
    unit, units = full.weights * gamma, without.weights * without.margin[..., None]
    turned = np.linalg.norm(unit[:, None] - units, axis=-1)
    norms = np.linalg.norm(z, axis=-1)
    # Without any other example nothing changes, and 0 ≤ 0 is no comparison.
    support = np.where(dual > 0, 1.0, np.nan)
    share = gamma / np.maximum(gamma, without.margin)
    yield Comparison("H3", turned**2, support * 2 * (1 - share))
    yield Comparison("H7", gamma * moved, support * gamma * dual * norms)
    yield Comparison("H7u", turned, support * np.sqrt(2) * gamma * moved)
    of_set = {"n": n, "radius": norms.max(-1), "margin": full.margin}
    count = (dual > 0).sum(-1)
    means = {
        "H1": (turned, head.rotation_of_support(n=n, support=count)),
        "H8": (gamma * moved, full.margin * head.mean_displacement(**of_set)),
        "H9": (turned, head.mean_rotation(**of_set)),
        "H9′": (turned, head.mean_rotation_attained(**of_set)),
    }
    for name, (measured, bound) in means.items():
        yield Comparison(name, measured.mean(-1), bound)


def descending_heads(
    z: Array,
    loss: str,
    normalization: str = "N1",
    fractions: Sequence[float] = FRACTIONS,
    times: Sequence[int] = TIMES,
) -> Iterator[Comparison]:
    """H15, H15a, H15b, H16, H16′, H11 and H13: gradient descent from w_0 = 0."""
    n = z.shape[1]
    # Axes: problems, times, rates, rows (the whole set, then each leave-one-out set).
    radius = np.linalg.norm(z, axis=-1).max(-1)[:, None, None]
    full = margin.max_margin(z)
    without = margin.max_margin_without(z, full)
    gammas = np.concatenate([full.margin[:, None], without.margin], 1)
    gamma = full.margin[:, None, None]
    rate = head.largest_rate(radius=radius[:, 0], loss=loss) * np.array(fractions)
    shares = descent.shares(n, normalization)
    runs = descent.head_descent(z, rate, times, weights=shares, loss=loss)
    weights, accumulated = (np.moveaxis(value, 1, 0) for value in runs)
    apart = descent.difference(weights)
    t, eta = np.reshape(times, (1, -1, 1)), rate[:, None]
    yield Comparison(
        "H15",
        apart.parameter.mean(-1),
        head.mean_parameter_difference(
            n=n, radius=radius, accumulated=accumulated[..., 0], normalization=normalization
        ),
    )
    of_set = {"n": n, "radius": radius, "margin": gamma}
    turned = apart.direction.mean(-1)
    bound = head.mean_direction_difference(**of_set, normalization=normalization)
    yield Comparison("H16", turned, bound)
    if normalization == "N1":
        faster = descent.head_descent(z, rate * n / (n - 1), times, weights=shares[:1], loss=loss)
        both = np.concatenate([weights[..., :1, :], np.moveaxis(faster.weights, 1, 0)], -2)
        by_rate = descent.difference(both).direction[..., 0]
        least = head.mean_direction_difference(**of_set, normalization="N2")
        yield Comparison("H16′", turned, least + by_rate)
    norm = np.linalg.norm(weights, axis=-1)
    low, high = gammas[:, None, None] * accumulated, radius[..., None] * accumulated
    yield Comparison("H15a", np.stack([low, norm], 1), np.stack([norm, high], 1))
    shape = np.broadcast_shapes(t.shape, eta.shape, gamma.shape)
    if loss == "logistic" and normalization == "N1":
        allowed = (eta * radius**2 <= 4) & (gamma**2 * eta * t >= 1)
        at = {
            "radius": np.broadcast_to(radius, shape)[allowed],
            "margin": np.broadcast_to(gamma, shape)[allowed],
            "rate": np.broadcast_to(eta, shape)[allowed],
            "steps": np.broadcast_to(t, shape)[allowed],
        }
        bound = np.full(shape, np.nan)
        bound[allowed] = head.logistic_parameter_difference(n=n, **at)
        yield Comparison("H15b (norm)", norm[..., 0], bound * n * gamma / (2 * radius))
        yield Comparison("H15b", apart.parameter.mean(-1), bound)
    if loss == "exponential":
        limits = np.concatenate([full.weights[:, None], without.weights], 1)
        aims = (limits * gammas[..., None])[:, None, None]
        error = np.linalg.norm(weights / norm[..., None] - aims, axis=-1)
        of_rows = {"radius": radius[..., None], "margin": gammas[:, None, None], "n": n}
        start = 2 * (np.log(n) + eta[..., None] * of_rows["radius"] ** 2)
        yield Comparison("H11", error, np.sqrt(start / (of_rows["margin"] * norm)))
        bound = head.direction_error(**of_rows, rate=eta[..., None], steps=t[..., None])
        yield Comparison("H13", error, bound)


def started_heads(
    z: Array, start: Array, normalization: str = "N1", times: Sequence[int] = TIMES
) -> Iterator[Comparison]:
    """H16 from a common w_0 ≠ 0; start (sets, tracks, d), logistic loss, at the largest rate."""
    n = z.shape[1]
    radius = np.linalg.norm(z, axis=-1).max(-1)[:, None]
    gamma = margin.max_margin(z).margin[:, None, None]
    rate = head.largest_rate(radius=radius, loss="logistic")
    runs = descent.head_descent(
        z, np.repeat(rate, start.shape[1], 1), times,
        weights=descent.shares(n, normalization), starts=start[:, :, None],
    )  # fmt: skip
    turned = np.moveaxis(descent.difference(runs.weights).direction.mean(-1), 1, 0)
    A = np.moveaxis(runs.accumulated[..., 0], 1, 0)
    length = np.linalg.norm(start, axis=-1)[:, None]
    allowed = gamma * A > 1.01 * length
    cover = np.where(allowed, A, 2 * length / gamma)
    bound = head.mean_direction_difference(
        n=n, radius=radius[..., None], margin=gamma, normalization=normalization,
        accumulated=cover, start_norm=length,
    )  # fmt: skip
    yield Comparison("H16 (w_0 ≠ 0)", turned, np.where(allowed & (bound < 2), bound, np.nan))


def seeds(
    z: Array,
    start: Array,
    fractions: Sequence[float] = FRACTIONS,
    times: Sequence[int] = TIMES,
) -> Iterator[Comparison]:
    """H17, H18, H18′, H19: heads from several starts (sets, seeds, d), logistic loss, the same set.

    H19 is checked exactly: the first four starts are the equally likely values of w_0, and all ways
    to draw H of them independently are averaged. That makes its 1/H an identity; what can fail is
    that descent does not spread the starts.
    """
    count = start.shape[1]
    radius = np.linalg.norm(z, axis=-1).max(-1)[:, None]
    gamma = margin.max_margin(z).margin
    limit = head.largest_rate(radius=radius, loss="logistic")
    rate = limit * np.array(fractions)
    whole = np.full((count, z.shape[1]), 1 / z.shape[1])
    runs = descent.head_descent(z, rate, times, weights=whole, starts=start[:, None])
    # Axes: problems, times, rates, seeds.
    w = np.moveaxis(runs.weights, 1, 0)
    one, two = np.array(list(itertools.combinations(range(count), 2))).T
    apart = np.linalg.norm(start[:, one] - start[:, two], axis=-1)[:, None, None]
    after = np.linalg.norm(w[..., one, :] - w[..., two, :], axis=-1)
    yield Comparison("H17", after, head.seed_distance(start_distance=apart))
    norm, unit = np.linalg.norm(w, axis=-1), descent.unit_vectors(w)
    turned = np.linalg.norm(unit[..., one, :] - unit[..., two, :], axis=-1)
    both = (norm[..., one], norm[..., two])
    bound = head.seed_direction_of_norms(norms=both, start_distance=apart)
    yield Comparison("H18′", turned, np.where(bound < 2, bound, np.nan))
    gentle = [f for f, fraction in enumerate(fractions) if fraction <= 0.5]
    length = np.linalg.norm(start, axis=-1)[:, None, None]
    of_set = {
        "radius": radius[..., None, None],
        "margin": gamma[:, None, None, None],
        "rate": rate[:, None, gentle, None],
        "steps": np.reshape(times, (1, -1, 1, 1)),
    }
    low = head.smallest_norm(**of_set, start_norm=length)
    # ‖w_t‖ is the larger one here: the bound is from below. Zero would say nothing.
    yield Comparison("H18 (norm)", np.where(low > 0, low, np.nan), norm[:, :, gentle])
    bound = head.seed_direction(
        **of_set, start_norms=(length[..., one], length[..., two]), start_distance=apart
    )
    yield Comparison("H18", turned[:, :, gentle], np.where(bound < 2, bound, np.nan))
    few = min(count, 4)
    variance = _total_variance(start[:, :few])[:, None, None]
    for heads in (2, 3):
        drawn = np.array(list(itertools.product(range(few), repeat=heads)))
        averaged = _total_variance(w[..., drawn, :].mean(-2))
        yield Comparison("H19", averaged, head.averaged_variance(variance=variance, heads=heads))


def _total_variance(vectors: Array) -> Array:
    """tr Cov of equally likely vectors (..., count, d)."""
    return ((vectors - vectors.mean(-2, keepdims=True)) ** 2).sum(-1).mean(-1)


def soft_heads(z: Array, regularizations: Sequence[float]) -> Iterator[Comparison]:
    """S0, S1, S2: hinge loss with regulariser, N1; S0 and S1 on the separable of the sets only."""
    n = z.shape[1]
    lam = np.asarray(regularizations, float)[:, None]
    w = margin.soft_margin(z[:, None, None], lam, descent.shares(n, "N1")).weights
    moved = descent.difference(w).parameter
    radius = np.linalg.norm(z, axis=-1).max(-1)[:, None, None]
    gamma = margin.max_margin(z).margin[:, None, None]
    apart = np.isfinite(gamma)
    of_set = {"n": n, "radius": radius, "regularization": lam}
    yield Comparison("S2", moved, head.soft_by_radius(**of_set))
    of_set["margin"] = np.where(apart, gamma, radius)
    norm = np.linalg.norm(w[..., :1, :], axis=-1)
    bound = head.soft_norm(margin=of_set["margin"])
    yield Comparison("S0", norm, np.where(apart, bound, np.nan))
    bound = head.soft_by_slack(**of_set)
    yield Comparison("S1", moved, np.where(apart, bound, np.nan))
