"""From stability to the gap between the risk and what estimates it, from a sample of m examples.

R is the risk of the returned function, R_emp its mean loss on the m training examples, R_loo the
mean over i of the loss at example i of the function trained without it. The loss is in [0, M]
(``highest``). m is ``n``, δ is ``failure``.

Bousquet & Elisseeff, "Stability and generalization" (JMLR 2:499–526, 2002): deterministic
algorithms, read at second hand (grade S). Stabilities, in each E or sup one example is left out:
hypothesis β_1 = E_{S,z}|ℓ(A_S, z) − ℓ(A_{S∖i}, z)|; pointwise hypothesis β_2, the same at z = z_i;
uniform β = sup.

Elisseeff, Evgeniou & Pontil, "Stability of randomized learning algorithms" (JMLR 6:55–79, 2005):
the functions whose names begin with ``recollected_``. Their constants are a recollection of low to
medium confidence (grade M), not the paper's statement.
"""

from typing import Any

import numpy as np

from lib.bounds.assumptions import require
from lib.bounds.classical import Number, floats, require_sizes


def _gap(n: Any, highest: Any, failure: Any, **stabilities: Any) -> None:
    require_sizes(n, M=highest, **stabilities)
    require((failure > 0) & (failure < 1), "0 < δ < 1", failure=failure)


def leave_one_out_square(*, n: Number, highest: Number, hypothesis: Number) -> Any:
    """E(R − R_loo)² ≤ M²/(2m) + 3Mβ_1.

    Bousquet & Elisseeff, Lemma 9, inequality (9). Grade S.
    """
    n, highest, hypothesis = floats(n, highest, hypothesis)
    require_sizes(n, M=highest, β1=hypothesis)
    return highest**2 / (2 * n) + 3 * highest * hypothesis


def empirical_gap_by_hypothesis(
    *, n: Number, highest: Number, pointwise: Number, failure: Number
) -> Any:
    """R − R_emp ≤ √((M² + 12Mmβ_2)/(2mδ)) with probability ≥ 1 − δ, the constant as printed.

    Bousquet & Elisseeff, Theorem 11. Grade S. The proof is reported to give 6Mm(β_1 + β_2):
    ``empirical_gap_by_both``, the same where β_1 = β_2 and safer where β_1 > β_2.
    """
    n, highest, pointwise, failure = floats(n, highest, pointwise, failure)
    _gap(n, highest, failure, β2=pointwise)
    return np.sqrt((highest**2 + 12 * highest * n * pointwise) / (2 * n * failure))


def empirical_gap_by_both(
    *, n: Number, highest: Number, hypothesis: Number, pointwise: Number, failure: Number
) -> Any:
    """R − R_emp ≤ √((M² + 6Mm(β_1 + β_2))/(2mδ)) with probability ≥ 1 − δ.

    The constant that a formalisation of the proof of Bousquet & Elisseeff, Theorem 11, arrives at.
    Grade S.
    """
    n, highest, hypothesis, pointwise, failure = floats(n, highest, hypothesis, pointwise, failure)
    _gap(n, highest, failure, β1=hypothesis, β2=pointwise)
    return np.sqrt((highest**2 + 6 * highest * n * (hypothesis + pointwise)) / (2 * n * failure))


def leave_one_out_gap_by_hypothesis(
    *, n: Number, highest: Number, hypothesis: Number, failure: Number
) -> Any:
    """R − R_loo ≤ √((M² + 6Mmβ_1)/(2mδ)) with probability ≥ 1 − δ.

    Bousquet & Elisseeff, Theorem 11. Grade S.
    """
    n, highest, hypothesis, failure = floats(n, highest, hypothesis, failure)
    _gap(n, highest, failure, β1=hypothesis)
    return np.sqrt((highest**2 + 6 * highest * n * hypothesis) / (2 * n * failure))


def empirical_gap_by_uniform(
    *, n: Number, highest: Number, uniform: Number, failure: Number
) -> Any:
    """R − R_emp ≤ 2β + (4mβ + M)√(ln(1/δ)/(2m)) with probability ≥ 1 − δ.

    Bousquet & Elisseeff, Theorem 12. Grade S.
    """
    n, highest, uniform, failure = floats(n, highest, uniform, failure)
    _gap(n, highest, failure, β=uniform)
    return 2 * uniform + _deviation(n, highest, uniform, failure)


def leave_one_out_gap_by_uniform(
    *, n: Number, highest: Number, uniform: Number, failure: Number
) -> Any:
    """R − R_loo ≤ β + (4mβ + M)√(ln(1/δ)/(2m)) with probability ≥ 1 − δ.

    Bousquet & Elisseeff, Theorem 12. Grade S. This and ``empirical_gap_by_uniform`` hold each with
    that probability, not both at once.
    """
    n, highest, uniform, failure = floats(n, highest, uniform, failure)
    _gap(n, highest, failure, β=uniform)
    return uniform + _deviation(n, highest, uniform, failure)


def _deviation(n: Any, highest: Any, uniform: Any, failure: Any) -> Any:
    return (4 * n * uniform + highest) * np.sqrt(np.log(1 / failure) / (2 * n))


# Randomised algorithms, from memory.


def recollected_random_empirical_gap(
    *, n: Number, highest: Number, pointwise: Number, failure: Number
) -> Any:
    """R − R_emp ≤ √((2M² + 12Mmβ)/(mδ)) with probability ≥ 1 − δ over sample and randomness.

    β: random pointwise hypothesis stability, E_{S,r}|ℓ(f_{S,r}, z_i) − ℓ(f_{S∖i,r}, z_i)|.
    Elisseeff, Evgeniou & Pontil 2005. Grade M: recollection.
    """
    n, highest, pointwise, failure = floats(n, highest, pointwise, failure)
    _gap(n, highest, failure, β=pointwise)
    return np.sqrt((2 * highest**2 + 12 * highest * n * pointwise) / (n * failure))


def recollected_random_leave_one_out_gap(
    *, n: Number, highest: Number, hypothesis: Number, failure: Number
) -> Any:
    """R − R_loo ≤ √((2M² + 6Mmβ)/(mδ)) with probability ≥ 1 − δ over sample and randomness.

    β: random hypothesis stability, E_{S,z,r}|ℓ(f_{S,r}, z) − ℓ(f_{S∖i,r}, z)|.
    Elisseeff, Evgeniou & Pontil 2005. Grade M: recollection.
    """
    n, highest, hypothesis, failure = floats(n, highest, hypothesis, failure)
    _gap(n, highest, failure, β=hypothesis)
    return np.sqrt((2 * highest**2 + 6 * highest * n * hypothesis) / (n * failure))


def recollected_random_uniform_gap(
    *, n: Number, highest: Number, uniform: Number, draws: Number, sensitivity: Number,
    failure: Number,
) -> Any:  # fmt: skip
    """R − R_emp ≤ 2β + ((M + 4mβ)/√(2m) + √(2T) ρ) √ln(2/δ) with probability ≥ 1 − δ.

    β: uniform random stability, sup_{S,z}|E_r ℓ(f_{S,r}, z) − E_r ℓ(f_{S∖i,r}, z)|. The randomness
    is T = ``draws`` independent variables, of which changing one changes the loss by at most
    ρ = ``sensitivity``. Elisseeff, Evgeniou & Pontil 2005. Grade M: recollection.
    """
    n, highest, uniform, draws, sensitivity, failure = floats(
        n, highest, uniform, draws, sensitivity, failure
    )
    _gap(n, highest, failure, β=uniform, T=draws, ρ=sensitivity)
    spread = (highest + 4 * n * uniform) / np.sqrt(2 * n) + np.sqrt(2 * draws) * sensitivity
    return 2 * uniform + spread * np.sqrt(np.log(2 / failure))
