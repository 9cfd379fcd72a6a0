"""Full fine-tuning: how far one training example moves the weights that gradient descent finds.

The loss around the solution is replaced by its second-order Taylor expansion, the model of Fu, So &
Collier (2023, full fine-tuning). The statements and their proofs are derived here (grade D); they
are not quotations of that paper, whose theorem was not available to us.

Notation. n examples z_1 … z_n; F_S(w) = (1/n) Σ_j f(w, z_j); S^i is S without z_i, its objective
the mean over n − 1 examples (N1, c = 2) or their sum over n (N2, c = 1). Gradient descent runs on
the whole set from the same w_0, with step η: w_t on S, v_t on S^i. w*_S, w*_i are the minimisers.

Every function takes numbers or arrays that broadcast, and raises ``Inapplicable`` where an
assumption does not hold. Lengths are Euclidean norms of weight vectors. Proofs: notebook 70.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lib.theory.assumptions import constant_of, require

Values = npt.ArrayLike
Bound = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Constants:
    """What the bounds are given of problems, named as their arguments; arrays that broadcast.

    μ = ``curvature`` and β = ``smoothness`` bound the Hessians of F_S from below and of all
    objectives from above; μ_i = ``curvature_without`` and b_o = ``sharpness_without`` those of
    F_{S^i}; b_i = ``sharpness`` that of example i, whose gradient at w*_i is ``gradient`` = G_i
    long. D_S = ``distance`` = ‖w_0 − w*_S‖, D_i = ``distance_without`` = ‖w_0 − w*_i‖, and
    ``shift`` = ‖w*_S − w*_i‖, which T3 bounds.
    """

    curvature: Bound
    smoothness: Bound
    curvature_without: Bound
    sharpness: Bound
    sharpness_without: Bound
    gradient: Bound
    distance: Bound
    distance_without: Bound
    shift: Bound


def bound(theorem: str, constants: Constants, **more: Values | str) -> Bound:
    """The theorem (a key of ``THEOREMS``) with the constants that it needs, and of ``more`` too,
    which goes first: n, rate, steps, lipschitz, normalization. ``Inapplicable`` as the theorem.
    """
    values = {"known": constants} | vars(constants) | more
    names = inspect.signature(THEOREMS[theorem]).parameters
    return THEOREMS[theorem](**{name: values[name] for name in names if name in values})


def strongly_convex(
    *,
    n: Values,
    lipschitz: Values,
    curvature: Values,
    smoothness: Values,
    rate: Values,
    steps: Values,
    normalization: str = "N1",
) -> Bound:
    """T1: ‖w_t − v_t‖ ≤ (cL / μn) · (1 − (1 − ημ)^t), for every S and every i.

    Assumes gradients of single examples of at most L = ``lipschitz`` along the run on S^i, Hessians
    of F_S between μ = ``curvature`` > 0 and β = ``smoothness``, and 0 < η ≤ 2 / (β + μ). Only F_S
    needs curvature. At most min(cηLt / n, cL / μn): the 1/n of more data, the t and η of early
    stopping and small rates, the 1/μ of an L2-SP term. With an L that was measured along a run this
    is a bound after the fact, and no uniform stability in the sense of Bousquet & Elisseeff (2002).

    Source: derived here (D). ``rate`` = η, ``steps`` = t.
    """
    n, L, mu, eta = (np.asarray(x, float) for x in (n, lipschitz, curvature, rate))
    _check_common(n, eta, steps, lipschitz=L)
    _check_step(eta, smoothness, mu)
    require(mu > 0, "curvature > 0", curvature=mu)
    return constant_of(normalization) * L / (mu * n) * _progress(eta * mu, steps)


def convex(
    *,
    n: Values,
    lipschitz: Values,
    smoothness: Values,
    rate: Values,
    steps: Values,
    normalization: str = "N1",
) -> Bound:
    """T1c: ‖w_t − v_t‖ ≤ cηLt / n. Convex F_S (μ = 0) and 0 < η ≤ 2/β. Vacuous for large t.

    Source: derived here (D); the same recursion as Hardt, Recht & Singer (2016, Theorem 3.8).
    """
    n, L, eta = (np.asarray(x, float) for x in (n, lipschitz, rate))
    _check_common(n, eta, steps, lipschitz=L)
    _check_step(eta, smoothness, 0.0)
    return constant_of(normalization) * eta * L * np.asarray(steps, float) / n


def initial_distance(
    *, known: Constants, n: Values, rate: Values, steps: Values, normalization: str = "N1"
) -> Bound:
    """T2: ‖w_t − v_t‖ ≤ (1/n) · [G_i (1 − (1 − ημ)^t) / μ + (b_i + b_o) D_i ηt q^{t−1}].

    The bound in which the distance between initial and final weights appears; q = max(1 − ημ,
    1 − ημ_i, |1 − ηb_o|). Under N2 b_o only enters q. Assumes quadratic and convex examples, μ > 0
    and 0 < η ≤ 2 / (β + μ). Source: derived here (D).
    """
    n, eta, t = (np.asarray(x, float) for x in (n, rate, steps))
    mu = known.curvature
    q, start = _without(known, n, eta, t, mu, normalization)
    moved = known.gradient * _progress(eta * mu, t) / mu
    return (moved + start * eta * t * q ** np.maximum(t - 1, 0)) / n


def initial_distance_any_time(
    *, known: Constants, n: Values, rate: Values, normalization: str = "N1"
) -> Bound:
    """T2′: ‖w_t − v_t‖ ≤ (G_i + (b_i + b_o) D_i) / (n min(μ, μ_i)) for all t.

    As T2, with μ_i > 0 and 0 < η ≤ 2 / (β + min(μ, μ_i)). Source: derived here (D).
    """
    n, eta = np.asarray(n, float), np.asarray(rate, float)
    least = np.minimum(known.curvature, known.curvature_without)
    _, start = _without(known, n, eta, 1, least, normalization)
    return (known.gradient + start) / (n * least)


def minimizers(*, n: Values, gradient: Values, curvature: Values) -> Bound:
    """T3: ‖w*_S − w*_i‖ ≤ G_i / (μn), example by example, in both normalisations.

    G_i = ``gradient`` = ‖∇f(w*_i, z_i)‖. Assumes F_S strongly convex with μ = ``curvature`` > 0 and
    that w*_i is a minimiser (gradient zero). For an L-Lipschitz loss, losses differ by at most L
    times as much. Source: derived here (D).
    """
    n, G, mu = (np.asarray(x, float) for x in (n, gradient, curvature))
    _check_common(n, 1.0, 1, gradient=G)
    require(np.isfinite(mu) & (mu > 0), "curvature > 0", curvature=mu)
    return G / (mu * n)


def optimization_error(*, known: Constants, n: Values, rate: Values, steps: Values) -> Bound:
    """T4: ‖w_t − v_t‖ ≤ q^t (D_S + D_i) + G_i / μn.

    The way through both minimisers: more steps forget the start exponentially. Assumptions and q as
    in T2, both normalisations. Source: derived here (D).
    """
    n, eta, t = (np.asarray(x, float) for x in (n, rate, steps))
    _check_common(n, eta, t, distance=known.distance)
    q, _ = _without(known, n, eta, t, known.curvature, "N2")
    both = known.distance + known.distance_without
    return q**t * both + known.gradient / (known.curvature * n)


def local_curvature(*, curvature: Values, hessian_lipschitz: Values, reach: Values) -> Bound:
    """T5: μ_R = μ(w*_S) − MR, the curvature that T1 may use where the loss is not quadratic.

    M = ``hessian_lipschitz``: ‖∇²F_S(w) − ∇²F_S(w*_S)‖ ≤ M ‖w − w*_S‖. R = ``reach``: the largest,
    over i, of ‖w_0 − w*_i‖ + ‖w*_i − w*_S‖ and ‖w_0 − w*_S‖. Assumes that F_S and all F_{S^i} are
    convex and β-smooth on the ball of radius R around w*_S, so that no iterate leaves it. Raises
    ``Inapplicable`` where μ_R ≤ 0: the start is too far away for the quadratic model. Use the
    result as ``curvature`` of ``strongly_convex``. Source: derived here (D).
    """
    mu, M, R = (np.asarray(x, float) for x in (curvature, hessian_lipschitz, reach))
    require((M >= 0) & (R >= 0), "hessian_lipschitz ≥ 0 and reach ≥ 0", M=M, R=R)
    require(np.isfinite(mu), "curvature is finite", curvature=mu)
    local = mu - M * R
    require(local > 0, "curvature − hessian_lipschitz · reach > 0", local_curvature=local)
    return local


#: The bounds on ‖w_t − v_t‖, and T3, by name.
THEOREMS: dict[str, Callable[..., Bound]] = {
    "T1": strongly_convex,
    "T1c": convex,
    "T2": initial_distance,
    "T2′": initial_distance_any_time,
    "T3": minimizers,
    "T4": optimization_error,
}


def _progress(step: Bound, steps: Values) -> Bound:
    """1 − (1 − ημ)^t for ημ in (0, 1], without cancellation where ημt is small."""
    t = np.asarray(steps, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(t == 0, 0.0, -np.expm1(t * np.log1p(-np.minimum(step, 1.0))))


def _without(
    known: Constants, n: Bound, rate: Bound, steps: Values, least: Values, normalization: str
) -> tuple[Bound, Bound]:
    """What T2, T2′ and T4 assume, with ``least`` in the step condition; then q, by which a step
    shrinks the distance to either minimiser, and (b_i + b_o) D_i, under N2 without b_o.
    """
    low, high, own = known.curvature_without, known.sharpness_without, known.sharpness
    lengths = {"gradient": known.gradient, "distance_without": known.distance_without}
    _check_common(n, rate, steps, **lengths, sharpness=own)
    _check_step(rate, known.smoothness, least)
    require(np.asarray(least) > 0, "curvature > 0", curvature=least)
    require(np.asarray(low) >= 0, "leave-one-out objectives are convex", curvature_without=low)
    ordered = (low <= high * (1 + 1e-12)) & (high <= known.smoothness * (1 + 1e-12))
    require(ordered, "curvature_without ≤ sharpness_without ≤ smoothness", low=low, high=high)
    q = np.maximum(1 - rate * np.minimum(known.curvature, low), np.abs(1 - rate * high))
    return q, (own + high * (constant_of(normalization) == 2)) * known.distance_without


def _check_common(n: Values, rate: Values, steps: Values, **lengths: Values) -> None:
    require(np.asarray(n) >= 2, "n ≥ 2 examples", n=n)
    require(np.asarray(rate) > 0, "rate > 0", rate=rate)
    require(np.asarray(steps) >= 0, "steps ≥ 0", steps=steps)
    for name, value in lengths.items():
        value = np.asarray(value, float)
        require(np.isfinite(value) & (value >= 0), f"{name} ≥ 0 and finite", **{name: value})


def _check_step(rate: Values, smoothness: Values, curvature: Values) -> None:
    beta, mu = np.asarray(smoothness, float), np.asarray(curvature, float)
    require(np.isfinite(beta) & (beta > 0), "smoothness > 0 and finite", smoothness=beta)
    require((mu >= 0) & (mu <= beta), "0 ≤ curvature ≤ smoothness", curvature=mu, smoothness=beta)
    # A relative rounding error, so that the limit itself, as computed, is allowed.
    limit = 2 / (beta + mu) * (1 + 1e-12)
    require(
        np.asarray(rate) <= limit, "rate ≤ 2 / (smoothness + curvature)", rate=rate, limit=limit
    )
