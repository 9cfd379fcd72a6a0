"""Head tuning: how far one training example, or the seed, moves a linear head on frozen features.

Statements and proofs are derived here (grade D) unless a function says otherwise; they cover what
Fu, So & Collier (2023, head tuning) are known to claim (sample size, margin, steps, rate), but are
not quotations of that paper, whose theorem was not available to us.

Notation. z_i = y_i · features_i, so that w separates the classes when w·z_i > 0 for all i; B =
``radius`` ≥ ‖z_i‖; γ = ``margin`` = max over unit u of min_i u·z_i > 0. ŵ_S is the hard-margin
solution (smallest w with all w·z_i ≥ 1), ‖ŵ_S‖ = 1/γ, u_S = γŵ_S its direction. S^i is S without
z_i, Δ_i = ŵ_S − ŵ_{S^i}. w_t: gradient descent on S, v_t on S^i, N1 and N2 as in
``lib.theory.assumptions``. To give the head a bias, append a constant 1 to the features: B² becomes
B² + 1. The proofs, with the steps that have names (H3, H7, H11, H15a), are in notebook 71.

Every function takes numbers or arrays that broadcast, and raises ``Inapplicable`` where an
assumption does not hold.
"""

import numpy as np
import numpy.typing as npt

from lib.theory.assumptions import constant_of, require

Values = npt.ArrayLike
Bound = npt.NDArray[np.float64]


# --- After infinitely many steps: the maximum-margin head, with and without z_i ------------------


def rotation_of_support(*, n: Values, support: Values) -> Bound:
    """H1: (1/n) Σ ‖u_S − u_{S^i}‖ ≤ √2 · n_SV / n; ``support`` = n_SV, the support vectors."""
    n, support = np.asarray(n, float), np.asarray(support, float)
    require(n >= 2, "n ≥ 2 examples", n=n)
    require((support >= 1) & (support <= n), "1 ≤ support ≤ n", support=support, n=n)
    return np.sqrt(2) * support / n


def mean_displacement(*, n: Values, radius: Values, margin: Values) -> Bound:
    """H8: (1/n) Σ ‖Δ_i‖ ≤ B / (nγ²). Of the average only: the largest over i need not shrink."""
    n, B, gamma = _separable(n, radius, margin)
    return B / (n * gamma**2)


def mean_rotation(*, n: Values, radius: Values, margin: Values) -> Bound:
    """H9: (1/n) Σ ‖u_S − u_{S^i}‖ ≤ √2 B / (nγ). Of the average only, as H8."""
    n, B, gamma = _separable(n, radius, margin)
    return np.sqrt(2) * B / (n * gamma)


def mean_rotation_attained(*, n: Values, radius: Values, margin: Values) -> Bound:
    """H9′: (1/n) Σ ‖u_S − u_{S^i}‖ ≤ (B / nγ) √(2 / (1 + γ/B)): sharper than H9, and attained."""
    n, B, gamma = _separable(n, radius, margin)
    return B / (n * gamma) * np.sqrt(2 / (1 + gamma / B))


# --- After t steps: gradient descent on the mean loss of a head without regulariser --------------


def largest_rate(*, radius: Values, loss: str) -> Bound:
    """The largest step of H15 and H16, 2/β: 8/B² for the logistic loss, from any start; 1/B² for
    the exponential loss, from w_0 = 0 only, where F ≤ 1 along the way limits the curvature to 2B².
    """
    if loss not in ("logistic", "exponential"):
        raise ValueError(f"loss = {loss!r}: give logistic or exponential")
    B = np.asarray(radius, float)
    require(B > 0, "radius > 0", radius=B)
    return (8.0 if loss == "logistic" else 1.0) / B**2


def mean_parameter_difference(
    *, n: Values, radius: Values, accumulated: Values, normalization: str = "N1"
) -> Bound:
    """H15: (1/n) Σ ‖w_t(S) − w_t(S^i)‖ ≤ cBA_t / n.

    A_t = ``accumulated`` = η Σ_{s<t} (1/n) Σ_i −ℓ'(w_s·z_i) is the pull gathered along the way: it
    grows with η and t, ever more slowly. Assumes a step within ``largest_rate``, which is not an
    argument here and cannot be checked; w_0 = 0 for all runs, or, for the logistic loss, any start
    that they share.
    """
    n, B, A = (np.asarray(x, float) for x in (n, radius, accumulated))
    require((n >= 2) & (B > 0) & (A >= 0), "n ≥ 2, radius > 0, accumulated ≥ 0", n=n, radius=B)
    return constant_of(normalization) * B * A / n


def logistic_parameter_difference(
    *, n: Values, radius: Values, margin: Values, rate: Values, steps: Values
) -> Bound:
    """H15b, N1: (1/n) Σ ‖w_t(S) − w_t(S^i)‖ ≤ (2B / nγ) · ‖w_t‖'s bound (2 ln(γ²ηt) + √2) / γ.

    Logistic mean loss, w_0 = 0, 0 < η ≤ 4/B², γ²ηt ≥ 1: the logarithm of ηt.
    """
    n, B, gamma = _separable(n, radius, margin)
    time = gamma**2 * _gentle_rate(rate, B) * np.asarray(steps, float)
    require(time >= 1, "margin² · rate · steps ≥ 1", time=time)
    return 2 * B / (n * gamma) * (2 * np.log(time) + np.sqrt(2)) / gamma


def mean_direction_difference(
    *,
    n: Values,
    radius: Values,
    margin: Values,
    normalization: str = "N1",
    accumulated: Values | None = None,
    start_norm: Values = 0.0,
) -> Bound:
    """H16: (1/n) Σ ‖w_t/‖w_t‖ − v_t/‖v_t‖‖ ≤ KcB / (nγ), K = 8/(3√3) ≈ 1.54, for every t ≥ 1.

    Neither t nor η appears, inside the step condition (``largest_rate``), and w_0 = 0. Under N1 it
    is also at most the value of N2 plus how far the run on S turns if its rate is n/(n − 1) times
    as large (H16′). For the logistic loss and a shared w_0 ≠ 0 the bound is 2cBA_t / (n (γA_t −
    ‖w_0‖)) once γA_t > ‖w_0‖; it needs ``start_norm`` = ‖w_0‖ and ``accumulated`` = A_t.
    """
    n, B, gamma = _separable(n, radius, margin)
    start = _length(start_norm, "start_norm")
    least = constant_of(normalization) * B / (n * gamma)
    if not np.any(start):
        return 8 / (3 * np.sqrt(3)) * least
    require(accumulated is not None, "accumulated is given where start_norm > 0", start_norm=start)
    A = np.asarray(accumulated, float)
    require(gamma * A > start, "margin · accumulated > start_norm", margin_A=gamma * A, start=start)
    return 2 * least * gamma * A / (gamma * A - start)


def direction_error(
    *, n: Values, radius: Values, margin: Values, rate: Values, steps: Values
) -> Bound:
    """H13: ‖w_t/‖w_t‖ − u_S‖ ≤ √(2B (ln n + ηB²) / (γ ln(1 + ηγ²t/2))), t ≥ 1.

    Exponential mean loss, w_0 = 0, 0 < η ≤ 1/B². With explicit constants, but slower than the
    O(1/log t) of Soudry et al. (2018, Theorem 5).
    """
    n, B, gamma = _separable(n, radius, margin)
    eta, t = np.asarray(rate, float), np.asarray(steps, float)
    require((eta > 0) & (eta <= 1 / B**2 * (1 + 1e-12)), "0 < rate ≤ 1 / radius²", rate=eta)
    require(t >= 1, "steps ≥ 1", steps=t)
    grown = np.log1p(eta * gamma**2 * t / 2)
    return np.sqrt(2 * B * (np.log(n) + eta * B**2) / (gamma * grown))


# --- Two seeds: the same training set, two random heads ------------------------------------------


def seed_distance(*, start_distance: Values) -> Bound:
    """H17: ‖w_t(w_0) − w_t(w_0')‖ ≤ ‖w_0 − w_0'‖ for all t. Convex smooth loss, η ≤ 2/β_F."""
    return _length(start_distance, "start_distance")


def smallest_norm(
    *, radius: Values, margin: Values, rate: Values, steps: Values, start_norm: Values
) -> Bound:
    """H18: ‖w_t‖ ≥ (1/B) ln(1 / (e^U − 1)), U = 1/t + (‖w_0‖ + ln t / γ)² / (2ηt).

    Logistic mean loss, 0 < η ≤ 4/B², t ≥ 1. Zero where the formula says nothing.
    """
    _, B, gamma = _separable(2, radius, margin)
    eta, t = _gentle_rate(rate, B), np.asarray(steps, float)
    require(t >= 1, "steps ≥ 1", steps=t)
    start = _length(start_norm, "start_norm")
    U = 1 / t + (start + np.log(t) / gamma) ** 2 / (2 * eta * t)
    # −ln(e^U − 1) = −U − ln(1 − e^−U), which does not overflow for large U.
    return np.maximum(0.0, (-U - np.log(-np.expm1(-U))) / B)


def seed_direction_of_norms(*, norms: tuple[Values, Values], start_distance: Values) -> Bound:
    """H18′: ‖w_t/‖w_t‖ − w_t'/‖w_t'‖‖ ≤ 2 ‖w_0 − w_0'‖ / (‖w_t‖ + ‖w_t'‖), or 2 if that is more.

    ``norms`` = ‖w_t‖ and ‖w_t'‖, as observed (an a-posteriori bound) or bounded from below. Assumes
    what ``seed_distance`` assumes, and no margin.
    """
    distance, total = seed_distance(start_distance=start_distance), sum(map(_length, norms))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, np.minimum(2.0, 2 * distance / total), 2.0)


def seed_direction(
    *,
    radius: Values,
    margin: Values,
    rate: Values,
    steps: Values,
    start_norms: tuple[Values, Values],
    start_distance: Values,
) -> Bound:
    """H18: H18′ with ``smallest_norm`` in the place of both norms, known before anything is run."""
    shared = {"radius": radius, "margin": margin, "rate": rate, "steps": steps}
    norms = tuple(smallest_norm(**shared, start_norm=norm) for norm in start_norms)
    return seed_direction_of_norms(norms=norms, start_distance=start_distance)


def averaged_variance(*, variance: Values, heads: Values) -> Bound:
    """H19: tr Cov(mean of H heads at step t) ≤ tr Cov(w_0) / H, for every t.

    ``variance`` = tr Cov(w_0) of one head: dσ² for N(0, σ²I). H = ``heads`` with independent starts
    of the same distribution, trained apart; convex smooth loss, η ≤ 2/β_F. The mean over heads of
    MHLoss scales each head's gradient by 1/H, so its step is η/H.
    """
    variance, heads = np.asarray(variance, float), np.asarray(heads, float)
    require((variance >= 0) & (heads >= 1), "variance ≥ 0 and heads ≥ 1", heads=heads)
    return variance / heads


# --- Soft margin: hinge loss with regulariser λ/2 ‖w‖², N1, the regulariser kept ------------------


def soft_norm(*, margin: Values) -> Bound:
    """S0: ‖w_S‖ ≤ 1/γ, on a separable set."""
    gamma = np.asarray(margin, float)
    require(gamma > 0, "margin > 0 (a separable set)", margin=gamma)
    return 1 / gamma


def soft_by_slack(*, n: Values, radius: Values, margin: Values, regularization: Values) -> Bound:
    """S1: ‖w_S − w_{S^i}‖ ≤ √(2 (1 + B/γ) / (λn)), for every i; on a separable set."""
    n, B, gamma = _separable(n, radius, margin)
    return np.sqrt(2 * (1 + B / gamma) / (_positive(regularization) * n))


def soft_by_radius(*, n: Values, radius: Values, regularization: Values) -> Bound:
    """S2: ‖w_S − w_{S^i}‖ ≤ 2B / (λn), for every i; separable or not."""
    n, B = np.asarray(n, float), np.asarray(radius, float)
    require((n >= 2) & (B > 0), "n ≥ 2 and radius > 0", n=n, radius=B)
    return 2 * B / (_positive(regularization) * n)


def _separable(n: Values, radius: Values, margin: Values) -> tuple[Bound, Bound, Bound]:
    n, B, gamma = (np.asarray(x, float) for x in (n, radius, margin))
    require(n >= 2, "n ≥ 2 examples", n=n)
    require(gamma > 0, "margin > 0 (a separable set)", margin=gamma)
    require(np.isfinite(B) & (gamma * (1 - 1e-9) <= B), "radius ≥ margin", radius=B, margin=gamma)
    return n, B, gamma


def _length(value: Values, name: str = "norms") -> Bound:
    value = np.asarray(value, float)
    require(np.isfinite(value) & (value >= 0), f"{name} ≥ 0 and finite", **{name: value})
    return value


def _gentle_rate(rate: Values, radius: Bound) -> Bound:
    eta = np.asarray(rate, float)
    require((eta > 0) & (eta <= 4 / radius**2 * (1 + 1e-12)), "0 < rate ≤ 4 / radius²", rate=eta)
    return eta


def _positive(regularization: Values) -> Bound:
    value = np.asarray(regularization, float)
    require(np.isfinite(value) & (value > 0), "regularization > 0", regularization=value)
    return value
