"""Classical stability bounds: stochastic gradients, and minimisers of a regularised loss.

Hardt, Recht & Singer, "Train faster, generalize better: stability of stochastic gradient descent"
(arXiv 1509.01240, 2016). w_{t+1} = w_t − α_t ∇f(w_t; z_{i_t}) with i_t uniform over n examples,
with replacement; S and S' differ in one example, which is replaced, and the two runs draw the same
i_t. Lipschitz constant L, smoothness β and curvature γ are those of f(·; z) for every z, on the
set that the iterates stay in. The loss level is sup_z |E f(w_T; z) − E f(w'_T; z)|.

Bousquet & Elisseeff, "Stability and generalization" (JMLR 2:499–526, 2002). The minimiser of
(1/m) Σ_j ℓ(f, z_j) + λ‖f‖² over a reproducing-kernel space with K(x, x) ≤ κ²; one example is left
out and 1/m is kept (normalisation N2). ℓ is σ-admissible: convex and σ-Lipschitz in f(x).

Arguments are numbers or arrays that broadcast. Outside of its assumptions a bound raises
``Inapplicable``. Grades: S, the statement read at second hand; D, derived here again and checked
on problems; M, recollection. No primary text was at hand.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from lib.theory.assumptions import require

Number = npt.ArrayLike

#: A rate computed as 2/β may miss the condition αβ ≤ 2 by rounding alone.
ROUNDING = 1e-12


def floats(*values: Number) -> list[Any]:
    """The values as float64 arrays."""
    return [np.asarray(value, float) for value in values]


def _stable(rate: Any, smoothness: Any) -> None:
    # αβ ≤ 2 rather than α ≤ 2/β: a linear loss has β = 0 and any rate.
    require(rate * smoothness <= 2 * (1 + ROUNDING), "α ≤ 2/β", rate=rate, smoothness=smoothness)


def _curved(curvature: Any, smoothness: Any) -> None:
    require((curvature > 0) & (curvature <= smoothness), "0 < γ ≤ β", curvature=curvature,
            smoothness=smoothness)  # fmt: skip


def require_sizes(n: Number, **positive: Number) -> None:
    """n ≥ 1, and the others ≥ 0 and finite."""
    require(np.asarray(n) >= 1, "n ≥ 1 examples", n=n)
    for name, value in positive.items():
        require((np.asarray(value) >= 0) & np.isfinite(value), f"{name} ≥ 0", **{name: value})


# One step: by how much it can pull two points apart (Lemma 3.7).


def expansion_smooth(*, rate: Number, smoothness: Number) -> Any:
    """‖G(w) − G(v)‖ ≤ (1 + αβ)‖w − v‖ for a gradient step G on a β-smooth loss.

    Hardt et al., Lemma 3.7(1). Grade D (constant M, derived again).
    """
    rate, smoothness = floats(rate, smoothness)
    require((rate >= 0) & (smoothness >= 0), "α ≥ 0, β ≥ 0", rate=rate, smoothness=smoothness)
    return 1 + rate * smoothness


def expansion_convex(*, rate: Number, smoothness: Number) -> Any:
    """‖G(w) − G(v)‖ ≤ ‖w − v‖ for a convex, β-smooth loss and α ≤ 2/β.

    Hardt et al., Lemma 3.7(2). Grade D (constant M, derived again).
    """
    rate, smoothness = floats(rate, smoothness)
    require((rate >= 0) & (smoothness >= 0), "α ≥ 0, β ≥ 0", rate=rate, smoothness=smoothness)
    _stable(rate, smoothness)
    return np.ones(np.broadcast_shapes(rate.shape, smoothness.shape))[()]


def expansion_strongly_convex(*, rate: Number, smoothness: Number, curvature: Number) -> Any:
    """‖G(w) − G(v)‖ ≤ (1 − αβγ/(β + γ))‖w − v‖ for a γ-strongly convex loss, α ≤ 2/(β + γ).

    Hardt et al., Lemma 3.7(3). Grade D (constant M, derived again).
    """
    rate, smoothness, curvature = floats(rate, smoothness, curvature)
    _curved(curvature, smoothness)
    within = (rate >= 0) & (rate * (smoothness + curvature) <= 2 * (1 + ROUNDING))
    require(within, "0 ≤ α ≤ 2/(β + γ)", rate=rate, smoothness=smoothness, curvature=curvature)
    return 1 - rate * smoothness * curvature / (smoothness + curvature)


def expansion_small_rate(*, rate: Number, smoothness: Number, curvature: Number) -> Any:
    """‖G(w) − G(v)‖ ≤ (1 − αγ)‖w − v‖ for a γ-strongly convex loss and α ≤ 1/β.

    What the proof of Hardt et al., Theorem 3.9, uses. Grade D.
    """
    rate, smoothness, curvature = floats(rate, smoothness, curvature)
    _small_rate(rate, smoothness, curvature)
    return 1 - rate * curvature


def _small_rate(rate: Any, smoothness: Any, curvature: Any) -> None:
    _curved(curvature, smoothness)
    within = (rate >= 0) & (rate * smoothness <= 1 + ROUNDING)
    require(within, "0 ≤ α ≤ 1/β", rate=rate, smoothness=smoothness)


# Stochastic gradient steps.


def sgd_convex_parameters(
    *, n: Number, lipschitz: Number, smoothness: Number, rates: Number
) -> Any:
    """E‖w_T − w'_T‖ ≤ (2L/n) Σ_t α_t: convex, L-Lipschitz, β-smooth loss, every α_t ≤ 2/β.

    ``rates`` (…, T) are α_1 … α_T, summed over the last axis; the other arguments broadcast with
    what is left. Hardt et al., proof of Theorem 3.8. Grade S.
    """
    n, lipschitz, smoothness, rates = floats(n, lipschitz, smoothness, rates)
    require_sizes(n, L=lipschitz, β=smoothness, α=rates)
    _stable(rates.max(-1, initial=0), smoothness)
    return 2 * lipschitz * rates.sum(-1) / n


def sgd_convex_loss(*, n: Number, lipschitz: Number, smoothness: Number, rates: Number) -> Any:
    """sup_z |E f(w_T; z) − E f(w'_T; z)| ≤ (2L²/n) Σ_t α_t, as ``sgd_convex_parameters``.

    Hardt et al., Theorem 3.8. Grade S.
    """
    return lipschitz * sgd_convex_parameters(
        n=n, lipschitz=lipschitz, smoothness=smoothness, rates=rates
    )


def sgd_strongly_convex_parameters(
    *, n: Number, lipschitz: Number, smoothness: Number, curvature: Number, rate: Number
) -> Any:
    """E‖w_T − w'_T‖ ≤ 2L/(γn) for every T: γ-strongly convex loss, constant α ≤ 1/β.

    Each step is projected on a convex set that holds the start; L is the Lipschitz constant there
    (a strongly convex loss has none on the whole space). Hardt et al., proof of Theorem 3.9.
    Grade S.
    """
    n, lipschitz, smoothness, curvature, rate = floats(n, lipschitz, smoothness, curvature, rate)
    require_sizes(n, L=lipschitz)
    _small_rate(rate, smoothness, curvature)
    return 2 * lipschitz / (curvature * n)


def sgd_strongly_convex_loss(
    *, n: Number, lipschitz: Number, smoothness: Number, curvature: Number, rate: Number
) -> Any:
    """sup_z |E f(w_T; z) − E f(w'_T; z)| ≤ 2L²/(γn), as ``sgd_strongly_convex_parameters``.

    Hardt et al., Theorem 3.9. Grade D (constant M, derived again).
    """
    return lipschitz * sgd_strongly_convex_parameters(
        n=n, lipschitz=lipschitz, smoothness=smoothness, curvature=curvature, rate=rate
    )


def sgd_decaying_loss(
    *, n: Number, lipschitz: Number, smoothness: Number, curvature: Number, highest: Number
) -> Any:
    """sup_z |E f(w_T; z) − E f(w'_T; z)| ≤ (2L² + βρ)/(γn) for α_t = 1/(γt) and every T.

    γ-strongly convex loss with values in [0, ρ] (``highest`` = ρ) on the convex set that each step
    is projected on. Hardt et al., Theorem 3.10. Grade D (constant M, derived again): before step
    β/γ, where α_t > 1/β, the example is unseen with probability ≥ 1 − β/(γn).
    """
    n, lipschitz, smoothness, curvature, highest = floats(
        n, lipschitz, smoothness, curvature, highest
    )
    require_sizes(n, L=lipschitz, ρ=highest)
    _curved(curvature, smoothness)
    return (2 * lipschitz**2 + smoothness * highest) / (curvature * n)


def sgd_nonconvex_loss(
    *, n: Number, lipschitz: Number, smoothness: Number, steps: Number, scale: Number
) -> Any:
    """(1 + 1/(βc))/(n − 1) · (2cL²)^{1/(βc+1)} · T^{βc/(βc+1)} for α_t ≤ c/t and a loss in [0, 1].

    Bounds sup_z |E f(w_T; z) − E f(w'_T; z)|; ``scale`` = c, ``steps`` = T ≥ 1, n ≥ 2. No
    convexity. Above 1 it says nothing, since the loss is in [0, 1]. Hardt et al., Theorem 3.12.
    Grade D (constant M, derived again). The derivation waits for a real number t_0 of steps that
    must be an integer; the tests show that the bound survives whole numbers.
    """
    n, lipschitz, smoothness, steps, scale = floats(n, lipschitz, smoothness, steps, scale)
    _nonconvex(n, lipschitz, smoothness, steps, scale)
    growth = smoothness * scale
    power = 1 / (growth + 1)
    shape = (2 * scale * lipschitz**2) ** power * steps ** (growth * power)
    return (1 + 1 / growth) / (n - 1) * shape


def _nonconvex(n: Any, lipschitz: Any, smoothness: Any, steps: Any, scale: Any) -> None:
    require(np.asarray(n) >= 2, "n ≥ 2 examples", n=n)
    require(np.asarray(steps) >= 1, "T ≥ 1 steps", steps=steps)
    require(np.asarray(smoothness) > 0, "β > 0", smoothness=smoothness)
    require(np.asarray(scale) > 0, "steps of size > 0", scale=scale)
    # A β-smooth function with values in [0, 1] has ‖∇f‖² ≤ β: a larger L is no contradiction.
    require(np.asarray(lipschitz) >= 0, "L ≥ 0", lipschitz=lipschitz)


# Minimisers of a regularised loss.


def _regularized(n: Any, radius: Any, regularization: Any, admissible: Any) -> None:
    require_sizes(n, κ=radius, σ=admissible)
    require(regularization > 0, "λ > 0", regularization=regularization)


def regularized_norm(
    *, n: Number, radius: Number, regularization: Number, admissible: Number = 1.0
) -> Any:
    """‖f_S − f_{S∖i}‖ ≤ κσ/(2λm) with m = ``n``, κ = ``radius``, σ = ``admissible``; N2, λ‖f‖².

    Bousquet & Elisseeff, Theorem 22. Grade S. σ = 1 for the hinge and the logistic loss.
    """
    n, radius, regularization, admissible = floats(n, radius, regularization, admissible)
    _regularized(n, radius, regularization, admissible)
    return radius * admissible / (2 * regularization * n)


def regularized_norm_by_prediction(
    *, n: Number, change: Number, regularization: Number, admissible: Number = 1.0
) -> Any:
    """‖Δ‖ ≤ √(σ|Δ(x_i)|/(2λm)), ``change`` = |Δ(x_i)|: the step before κ enters; N2, λ‖f‖².

    Bousquet & Elisseeff, Lemma 20 and Theorem 22, 2‖Δ‖² ≤ σ|Δ(x_i)|/(λm). Grade S.
    """
    n, change, regularization, admissible = floats(n, change, regularization, admissible)
    _regularized(n, change, regularization, admissible)
    return np.sqrt(admissible * change / (2 * regularization * n))


def regularized_loss(
    *, n: Number, radius: Number, regularization: Number, admissible: Number = 1.0
) -> Any:
    """Uniform stability β ≤ σ²κ²/(2λm): sup_z |ℓ(f_S, z) − ℓ(f_{S∖i}, z)|; N2, λ‖f‖².

    Bousquet & Elisseeff, Theorem 22. Grade S.
    """
    norm = regularized_norm(
        n=n, radius=radius, regularization=regularization, admissible=admissible
    )
    return np.asarray(radius, float) * np.asarray(admissible, float) * norm


def regularized_norm_renormalized(
    *, n: Number, radius: Number, regularization: Number, norm_without: Number,
    admissible: Number = 1.0,
) -> Any:  # fmt: skip
    """‖f_S − f_{S∖i}‖ ≤ (κσ + 2λ‖f_{S∖i}‖)/(2λm) where the m − 1 examples left are averaged (N1).

    The regulariser keeps its weight λ; ``norm_without`` = ‖f_{S∖i}‖. The gradient of the left-out
    term at f_{S∖i}, regulariser included, over the curvature 2λ. Grade D.
    """  # fmt: skip
    n, radius, regularization, without, admissible = floats(
        n, radius, regularization, norm_without, admissible
    )
    _regularized(n, radius, regularization, admissible)
    require(n >= 2, "n ≥ 2 examples", n=n)
    require(without >= 0, "‖f‖ ≥ 0", norm_without=without)
    return (radius * admissible + 2 * regularization * without) / (2 * regularization * n)
