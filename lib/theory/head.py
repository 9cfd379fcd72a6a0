"""Head tuning: how far one training example, or the seed, moves a linear head on frozen features.

Statements and proofs are derived here (grade D) unless a function says otherwise; they cover what
Fu, So & Collier (2023, head tuning) are known to claim (sample size, margin, steps, rate), but are
not quotations of that paper, whose theorem was not available to us.

Notation. z_i = y_i · features_i, so that w separates the classes when w·z_i > 0 for all i; B =
``radius`` ≥ ‖z_i‖; γ = ``margin`` = max over unit u of min_i u·z_i > 0. ŵ_S is the hard-margin
solution (smallest w with all w·z_i ≥ 1), ‖ŵ_S‖ = 1/γ, u_S = γŵ_S its direction, α its dual
(ŵ_S = Σ α_i z_i, Σ α_i = 1/γ²). Primed or ``_without``: the same of S^i, S without z_i. Δ_i = ŵ_S −
ŵ_{S^i}. w_t: gradient descent. N1 and N2 as in ``lib.theory.assumptions``. To give the head a bias,
append a constant 1 to the features: B² becomes B² + 1.

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


def displacement_of_margins(*, margin: Values, margin_without: Values) -> Bound:
    """H2: ‖Δ_i‖ ≤ √(1/γ² − 1/γ'²). Removing an example cannot make the margin smaller."""
    old, new = _margins(margin, margin_without)
    return np.sqrt(1 / old**2 - 1 / new**2)


def rotation_of_margins(*, margin: Values, margin_without: Values) -> Bound:
    """H3: ‖u_S − u_{S^i}‖ ≤ √(2 (1 − γ/γ')) < √2: less than a right angle."""
    old, new = _margins(margin, margin_without)
    return np.sqrt(2 * (1 - old / new))


def displacement_of_slack(*, dual: Values, slack: Values) -> Bound:
    """H4: ‖Δ_i‖ ≤ √(α_i ξ_i); ``slack`` ξ_i = max(0, 1 − z_i·ŵ_{S^i}), how wrong it is held out."""
    dual, slack = np.asarray(dual, float), np.asarray(slack, float)
    require((dual >= 0) & (slack >= 0), "dual ≥ 0 and slack ≥ 0", dual=dual, slack=slack)
    return np.sqrt(dual * slack)


def mean_displacement_of_slack(*, n: Values, radius: Values, margin: Values) -> Bound:
    """H5: (1/n) Σ ‖Δ_i‖ ≤ (1/γ) √((1 + B/γ) / n)."""
    n, B, gamma = _separable(n, radius, margin)
    return np.sqrt((1 + B / gamma) / n) / gamma


def mean_rotation_of_slack(*, n: Values, radius: Values, margin: Values) -> Bound:
    """H6: (1/n) Σ ‖u_S − u_{S^i}‖ ≤ √(2 (1 + B/γ) / n)."""
    n, B, gamma = _separable(n, radius, margin)
    return np.sqrt(2 * (1 + B / gamma) / n)


def displacement_of_dual(*, dual: Values, norm: Values) -> Bound:
    """H7: ‖Δ_i‖ ≤ α_i ‖z_i‖ (≤ α_i B); ``norm`` = ‖z_i‖ or B."""
    dual, norm = np.asarray(dual, float), np.asarray(norm, float)
    require((dual >= 0) & (norm >= 0), "dual ≥ 0 and norm ≥ 0", dual=dual, norm=norm)
    return dual * norm


def rotation_of_displacement(*, margin: Values, displacement: Values) -> Bound:
    """H7u: ‖u_S − u_{S^i}‖ ≤ √2 γ ‖Δ_i‖."""
    gamma, moved = np.asarray(margin, float), np.asarray(displacement, float)
    require((gamma > 0) & (moved >= 0), "margin > 0, displacement ≥ 0", margin=gamma)
    return np.sqrt(2) * gamma * moved


def mean_displacement(*, n: Values, radius: Values, margin: Values) -> Bound:
    """H8: (1/n) Σ ‖Δ_i‖ ≤ B / (nγ²). Of the average only: the largest over i need not shrink."""
    n, B, gamma = _separable(n, radius, margin)
    return B / (n * gamma**2)


def mean_rotation(*, n: Values, radius: Values, margin: Values) -> Bound:
    """H9: (1/n) Σ ‖u_S − u_{S^i}‖ ≤ √2 B / (nγ). Of the average only, as H8."""
    n, B, gamma = _separable(n, radius, margin)
    return np.sqrt(2) * B / (n * gamma)


def mean_rotation_attained(*, n: Values, radius: Values, margin: Values) -> Bound:
    """H9′: (1/n) Σ ‖u_S − u_{S^i}‖ ≤ (B / nγ) √(2 / (1 + γ/B)): sharper than H9, and attained.

    A turn by θ is sin θ / cos(θ/2) long; sin θ ≤ γ ‖Δ_i‖ as in H7u, and H3 with γ' ≤ B keeps θ
    from a right angle: cos θ ≥ γ/B. Two examples at a right angle attain it.
    """
    n, B, gamma = _separable(n, radius, margin)
    return B / (n * gamma) * np.sqrt(2 / (1 + gamma / B))


# --- After t steps: gradient descent on the mean loss of a head without regulariser --------------


def largest_rate(*, radius: Values, loss: str) -> Bound:
    """The largest step of H15 and H16, 2/β_F: 8/B² for the logistic loss, from any start; 1/B² for
    the exponential loss, from w_0 = 0 only (its curvature has no bound elsewhere).
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
    grows with η and t, ever more slowly. Assumes a convex loss that falls with the margin, and a
    step within ``largest_rate``, which is not an argument here and cannot be checked; w_0 = 0 for
    all runs, or, for the logistic loss, any start that they share.
    """
    n, B, A = (np.asarray(x, float) for x in (n, radius, accumulated))
    require((n >= 2) & (B > 0) & (A >= 0), "n ≥ 2, radius > 0, accumulated ≥ 0", n=n, radius=B)
    return constant_of(normalization) * B * A / n


def norm_range(*, radius: Values, margin: Values, accumulated: Values) -> tuple[Bound, Bound]:
    """H15a: γA_t ≤ ‖w_t‖ ≤ BA_t for w_0 = 0."""
    _, B, gamma = _separable(2, radius, margin)
    A = np.asarray(accumulated, float)
    require(A >= 0, "accumulated ≥ 0", accumulated=A)
    return gamma * A, B * A


def mean_direction_difference(
    *,
    n: Values,
    radius: Values,
    margin: Values,
    normalization: str = "N1",
    accumulated: Values | None = None,
    start_norm: Values = 0.0,
) -> Bound:
    """H16: (1/n) Σ ‖w_t/‖w_t‖ − v_t/‖v_t‖‖ ≤ 2cB / (nγ) for every t ≥ 1: 4B / (nγ) under N1.

    Neither t nor η appears, inside the step condition (``largest_rate``), and w_0 = 0. For the
    logistic loss and a shared w_0 ≠ 0 it is 2cBA_t / (n (γA_t − ‖w_0‖)) once γA_t > ‖w_0‖; then
    ``start_norm`` = ‖w_0‖ and ``accumulated`` = A_t are needed.
    """
    n, B, gamma = _separable(n, radius, margin)
    start = _length(start_norm, "start_norm")
    ideal = 2 * constant_of(normalization) * B / (n * gamma)
    if not np.any(start):
        return ideal
    require(accumulated is not None, "accumulated is given where start_norm > 0", start_norm=start)
    A = np.asarray(accumulated, float)
    require(gamma * A > start, "margin · accumulated > start_norm", margin_A=gamma * A, start=start)
    return ideal * gamma * A / (gamma * A - start)


def logistic_norm(*, radius: Values, margin: Values, rate: Values, steps: Values) -> Bound:
    """H15b: ‖w_t‖ ≤ (2 ln(γ²ηt) + √2) / γ: the head's norm grows with the logarithm of ηt.

    Logistic mean loss, w_0 = 0, 0 < η ≤ 4/B², γ²ηt ≥ 1.
    """
    _, B, gamma = _separable(2, radius, margin)
    eta, t = np.asarray(rate, float), np.asarray(steps, float)
    require((eta > 0) & (eta <= 4 / B**2 * (1 + 1e-12)), "0 < rate ≤ 4 / radius²", rate=eta)
    time = gamma**2 * eta * t
    require(time >= 1, "margin² · rate · steps ≥ 1", time=time)
    return (2 * np.log(time) + np.sqrt(2)) / gamma


def logistic_parameter_difference(
    *, n: Values, radius: Values, margin: Values, rate: Values, steps: Values
) -> Bound:
    """H15b, N1: (1/n) Σ ‖w_t(S) − w_t(S^i)‖ ≤ (2B / nγ²) (2 ln(γ²ηt) + √2).

    Assumes what ``logistic_norm`` assumes.
    """
    n, B, gamma = _separable(n, radius, margin)
    return 2 * B / (n * gamma) * logistic_norm(radius=B, margin=gamma, rate=rate, steps=steps)


def direction_error_of_norm(
    *, n: Values, radius: Values, margin: Values, rate: Values, norm: Values
) -> Bound:
    """H11: ‖w_t/‖w_t‖ − u_S‖ ≤ √(2 (ln n + ηB²) / (γ‖w_t‖)).

    Exponential mean loss, w_0 = 0, 0 < η ≤ 1/B²; ``norm`` = ‖w_t‖ > 0.
    """
    n, B, gamma = _separable(n, radius, margin)
    eta, norm = _exponential_rate(rate, B), np.asarray(norm, float)
    require(norm > 0, "norm > 0", norm=norm)
    return np.sqrt(2 * (np.log(n) + eta * B**2) / (gamma * norm))


def direction_error(
    *, n: Values, radius: Values, margin: Values, rate: Values, steps: Values
) -> Bound:
    """H13: ‖w_t/‖w_t‖ − u_S‖ ≤ √(2B (ln n + ηB²) / (γ ln(1 + ηγ²t/2))), t ≥ 1. As H11.

    With explicit constants, but slower than the O(1/log t) of Soudry et al. (2018, Theorem 5).
    """
    n, B, gamma = _separable(n, radius, margin)
    eta, t = _exponential_rate(rate, B), np.asarray(steps, float)
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
    eta, t = np.asarray(rate, float), np.asarray(steps, float)
    require((eta > 0) & (eta <= 4 / B**2 * (1 + 1e-12)), "0 < rate ≤ 4 / radius²", rate=eta)
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
    """H18: H18′ with ``smallest_norm`` in the place of both norms, known before anything is run.

    O(B ‖w_0 − w_0'‖ / ln(ηγ²t)): more steps, a larger margin and a larger rate make the heads of
    different seeds more alike in direction.
    """
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


def soft_by_root(*, n: Values, radius: Values, margin: Values, regularization: Values) -> Bound:
    """S3: ≤ (B + √(B² + 8nλ(1 + B/γ))) / (2nλ), for every i; never smaller than S1."""
    n, B, gamma = _separable(n, radius, margin)
    weight = n * _positive(regularization)
    return (B + np.sqrt(B**2 + 8 * weight * (1 + B / gamma))) / (2 * weight)


def _separable(n: Values, radius: Values, margin: Values) -> tuple[Bound, Bound, Bound]:
    n, B, gamma = (np.asarray(x, float) for x in (n, radius, margin))
    require(n >= 2, "n ≥ 2 examples", n=n)
    require(gamma > 0, "margin > 0 (a separable set)", margin=gamma)
    require(np.isfinite(B) & (gamma * (1 - 1e-9) <= B), "radius ≥ margin", radius=B, margin=gamma)
    return n, B, gamma


def _margins(margin: Values, margin_without: Values) -> tuple[Bound, Bound]:
    old, new = np.asarray(margin, float), np.asarray(margin_without, float)
    require(old > 0, "margin > 0 (a separable set)", margin=old)
    enough = np.isfinite(new) & (new >= old * (1 - 1e-9))
    require(enough, "margin_without ≥ margin, finite", margin=old, margin_without=new)
    return old, np.maximum(old, new)


def _length(value: Values, name: str = "norms") -> Bound:
    value = np.asarray(value, float)
    require(np.isfinite(value) & (value >= 0), f"{name} ≥ 0 and finite", **{name: value})
    return value


def _exponential_rate(rate: Values, radius: Bound) -> Bound:
    eta = np.asarray(rate, float)
    require((eta > 0) & (eta <= 1 / radius**2 * (1 + 1e-12)), "0 < rate ≤ 1 / radius²", rate=eta)
    return eta


def _positive(regularization: Values) -> Bound:
    value = np.asarray(regularization, float)
    require(np.isfinite(value) & (value > 0), "regularization > 0", regularization=value)
    return value
