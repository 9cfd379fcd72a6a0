"""Maximum-margin classifiers of many sets at once, exact to rounding, and soft-margin ones.

Sets are stacked: z (..., n, d) holds z_i = y_i · features_i, and every solver works on all of them
together, so that the n leave-one-out problems of a set are one call. No bias; append a constant 1.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class MaxMargin(NamedTuple):
    """The smallest w with w·z_i ≥ 1 for all i.

    weights (..., d), dual (..., n) with w = Σ α_i z_i, margin (...,) = 1/‖w‖, and violation (...,):
    the largest 1 − w·z_i, of the size of rounding times B/γ. NaN where a set is not separable (with
    a margin of more than 1e-7 of its radius).
    """

    weights: Array
    dual: Array
    margin: Array
    violation: Array


def max_margin(z: Array, present: Mask | None = None, start: Mask | None = None) -> MaxMargin:
    """The hard-margin classifier of each set, by non-negative least squares (Lawson & Hanson).

    Least-distance programming: with E = [Zᵀ; 1ᵀ] and f the last unit vector, minimise ‖Eu − f‖ over
    u ≥ 0; then α = u / (1 − Σu), and the residual vanishes if and only if no w separates the set.

    Parameters
    ----------
    z : (..., n, d)
    present : (..., n), optional; examples that are there (all)
    start : (..., n), optional; where the support vectors are likely to be
    """
    z = np.asarray(z, float)
    shape = z.shape[:-2]
    z = z.reshape(-1, *z.shape[-2:])
    sets, n, d = z.shape
    here = np.ones((sets, n), bool) if present is None else present.reshape(sets, n)
    size = np.sqrt(np.max(np.where(here, (z**2).sum(-1), 0), -1))
    columns = np.concatenate([z / size[:, None, None], np.ones((sets, n, 1))], -1)
    u, passive, separable = _non_negative_least_squares(columns, here, start)
    left = np.where(separable, 1 - u.sum(-1), np.nan)
    dual = u / left[:, None] / size[:, None] ** 2
    dual = _polish(z, passive & separable[:, None], dual)
    weights = np.einsum("sn,snd->sd", dual, z)
    reached = np.where(here, np.einsum("snd,sd->sn", z, weights), np.inf)
    with np.errstate(divide="ignore"):
        margin = 1 / np.linalg.norm(weights, axis=-1)
    return MaxMargin(
        weights.reshape(*shape, d),
        dual.reshape(*shape, n),
        margin.reshape(shape),
        (1 - reached.min(-1)).reshape(shape),
    )


def max_margin_without(z: Array, full: MaxMargin | None = None) -> MaxMargin:
    """The hard-margin classifiers of all leave-one-out sets: weights (..., n, d), dual (..., n, n).

    Only support vectors are left out for real: without any other example nothing changes.
    """
    z = np.asarray(z, float)
    full = max_margin(z) if full is None else full
    shape, (n, d) = z.shape[:-2], z.shape[-2:]
    flat, dual = z.reshape(-1, n, d), full.dual.reshape(-1, n)
    weights = np.repeat(full.weights.reshape(-1, 1, d), n, 1)
    duals = np.repeat(dual[:, None], n, 1)
    margin = np.repeat(full.margin.reshape(-1, 1), n, 1)
    violation = np.repeat(full.violation.reshape(-1, 1), n, 1)
    which, out = np.nonzero(dual > 0)
    present = np.ones((len(which), n), bool)
    present[np.arange(len(which)), out] = False
    found = max_margin(flat[which], present, (dual[which] > 0) & present)
    weights[which, out], duals[which, out] = found.weights, found.dual
    margin[which, out], violation[which, out] = found.margin, found.violation
    return MaxMargin(
        weights.reshape(*shape, n, d),
        duals.reshape(*shape, n, n),
        margin.reshape(*shape, n),
        violation.reshape(*shape, n),
    )


def _non_negative_least_squares(
    columns: Array, here: Mask, start: Mask | None
) -> tuple[Array, Mask, Mask]:
    """min ‖Σ_i u_i columns_i − (0 … 0, 1)‖ over u ≥ 0 for each set; columns (sets, n, d + 1).

    Returns u, where it is positive, and which sets leave a residual.
    """
    sets, n, width = columns.shape
    u = np.zeros((sets, n))
    passive = np.zeros((sets, n), bool) if start is None else start.reshape(sets, n) & here
    busy, apart = np.arange(sets), np.ones(sets, bool)
    shortest, idle = np.full(sets, np.inf), np.zeros(sets, int)
    if start is not None:
        u, passive = _inner(columns, u, passive)
    for _ in range(6 * (n + width)):
        residual = -np.einsum("sn,sne->se", u[busy], columns[busy])
        residual[:, -1] += 1
        gain = np.einsum("sne,se->sn", columns[busy], residual)
        gain = np.where(here[busy] & ~passive[busy], gain, -np.inf)
        best = gain.argmax(-1)
        length = np.linalg.norm(residual, axis=-1)
        apart[busy] = length > 1e-7
        # Every step shortens the residual, but for rounding: examples that are nearly the same
        # can take turns for ever, with nothing left to gain.
        idle[busy] = np.where(length < shortest[busy] * (1 - 1e-13), 0, idle[busy] + 1)
        shortest[busy] = np.minimum(shortest[busy], length)
        better = (gain[np.arange(len(busy)), best] > 1e-12 * length) & apart[busy]
        better &= idle[busy] < 5
        busy, best = busy[better], best[better]
        if not len(busy):
            return u, passive, apart
        passive[busy, best] = True
        u[busy], passive[busy] = _inner(columns[busy], u[busy], passive[busy])
    raise ArithmeticError(
        f"{len(busy)} of {sets} sets did not converge: leave out examples that are nearly the same"
    )


def _inner(columns: Array, u: Array, passive: Mask) -> tuple[Array, Mask]:
    """Least squares on the passive set; what would turn negative leaves it."""
    u, passive = u.copy(), passive.copy()
    todo = np.arange(len(u))
    while len(todo):
        aim = _least_squares(columns[todo], passive[todo])
        bad = passive[todo] & (aim <= 0)
        ready = ~bad.any(-1)
        u[todo[ready]] = aim[ready]
        todo, aim, bad = todo[~ready], aim[~ready], bad[~ready]
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(bad, u[todo] / (u[todo] - aim), np.inf)
        # An example that starts at zero and aims below it stops everything at once: it leaves.
        step = np.where(np.isnan(step), 0.0, step).min(-1, keepdims=True)
        moved = u[todo] + step * (aim - u[todo])
        stay = passive[todo] & ~(bad & (moved <= 1e-14))
        passive[todo] = stay
        u[todo] = np.where(stay, moved, 0.0)
    return u, passive


def _gather(rows: Array, passive: Mask) -> tuple[npt.NDArray[np.intp], Mask, Array]:
    """Indices of the passive rows, which padded places are real, and the rows (0 if not)."""
    most = max(1, int(passive.sum(-1).max(initial=0)))
    index = np.argsort(~passive, axis=-1, kind="stable")[:, :most]
    real = np.take_along_axis(passive, index, -1)
    return index, real, np.take_along_axis(rows, index[..., None], 1) * real[..., None]


def _solve(rows: Array, real: Mask, right: Array) -> Array:
    """x with (rows rowsᵀ) x = right on the real places, refined twice."""
    gram = rows @ rows.swapaxes(-1, -2)
    # Nearly equal rows make it singular: a ridge of the size of rounding, which refining removes.
    ridge = 1e-15 * np.trace(gram, axis1=-2, axis2=-1)[:, None]
    gram[:, np.arange(gram.shape[-1]), np.arange(gram.shape[-1])] += np.where(real, ridge, 1.0)
    x = np.linalg.solve(gram, right[..., None])[..., 0]
    for _ in range(2):
        off = right - np.einsum("ske,se->sk", rows, np.einsum("ske,sk->se", rows, x))
        x = x + np.where(real, np.linalg.solve(gram, off[..., None])[..., 0], 0.0)
    return x


def _least_squares(columns: Array, passive: Mask) -> Array:
    index, real, rows = _gather(columns, passive)
    x = _solve(rows, real, rows[..., -1]) * real
    result = np.zeros(passive.shape)
    np.put_along_axis(result, index, x, -1)
    return result * passive


def _polish(z: Array, passive: Mask, dual: Array) -> Array:
    """The dual again from the support vectors alone, whose margins are exactly 1."""
    index, real, rows = _gather(z, passive)
    exact = np.where(real, _solve(rows, real, real.astype(float)), 0.0)
    result = np.zeros(passive.shape)
    np.put_along_axis(result, index, exact, -1)
    trusted = (result >= 0).all(-1) & np.isfinite(dual).all(-1)
    return np.where(trusted[:, None], result * passive, dual)


class SoftMargin(NamedTuple):
    """weights (..., d), dual (..., n), gap (...,): primal minus dual; ‖w − w*‖ ≤ √(2 gap / λ).

    The gap is at most 1e-8 of the summed importance and mostly 1e-12; with a small λ that leaves
    fewer digits of w.
    """

    weights: Array
    dual: Array
    gap: Array


def soft_margin(
    z: Array, regularization: npt.ArrayLike, importance: Array | None = None
) -> SoftMargin:
    """Minimiser of (λ/2) ‖w‖² + Σ_i c_i max(0, 1 − w·z_i), by an interior-point method on the dual.

    Parameters
    ----------
    z : (..., n, d)
    regularization : λ > 0, broadcast to (...)
    importance : c (..., n) ≥ 0, broadcast; 1/n by default. Zero leaves an example out.
    """
    z = np.asarray(z, float)
    n, d = z.shape[-2:]
    c = np.full(n, 1 / n) if importance is None else np.asarray(importance, float)
    lam = np.asarray(regularization, float)
    shape = np.broadcast_shapes(z.shape[:-2], c.shape[:-1], lam.shape)
    if not (lam > 0).all() or not (c >= 0).all():
        raise ValueError("regularization must be positive and importance not negative")
    c = np.broadcast_to(c, (*shape, n)).reshape(-1, n)
    lam = np.broadcast_to(lam, shape).reshape(-1, 1)
    z = np.broadcast_to(z, (*shape, n, d)).reshape(-1, n, d)
    # In units of the box: a_i = α_i / c_i in (0, 1), rows c_i z_i / √λ.
    rows = z * (c / np.sqrt(lam))[..., None]
    a = _box(rows, c)
    weights = np.einsum("sn,snd->sd", a, rows) / np.sqrt(lam)
    hinge = np.maximum(0, 1 - np.einsum("snd,sd->sn", z, weights))
    squared = (lam[:, 0] / 2) * (weights**2).sum(-1)
    gap = squared + (c * hinge).sum(-1) - ((c * a).sum(-1) - squared)
    return SoftMargin(
        weights.reshape(*shape, d), (a * c).reshape(*shape, n), np.maximum(gap, 0).reshape(shape)
    )


class _Interior(NamedTuple):
    """a in (0, 1), its room 1 − a (kept apart, to have all its digits), and their multipliers."""

    a: Array
    room: Array
    low: Array
    high: Array


def _box(rows: Array, c: Array) -> Array:
    """min ½ ‖Σ a_i rows_i‖² − c·a over 0 ≤ a ≤ 1: Mehrotra's predictor and corrector."""
    half, weight = np.full(c.shape, 0.5), np.repeat(c.max(-1, keepdims=True), c.shape[1], 1)
    everything = _Interior(half, half.copy(), weight, weight.copy())
    result, busy, best = np.zeros(c.shape), np.arange(len(c)), np.full(len(c), np.inf)
    total = np.maximum(c.sum(-1), 1e-300)
    for _ in range(100):
        at = _Interior(*(value[busy] for value in everything))
        absent = c[busy] == 0
        pull = np.einsum("snd,sn->sd", rows[busy], np.where(absent, 0.0, at.a))
        slope = np.einsum("snd,sd->sn", rows[busy], pull) - c[busy]
        off = np.where(absent, 0.0, slope - at.low + at.high)
        gap = np.where(absent, 0.0, at.low * at.a + at.high * at.room).sum(-1, keepdims=True)
        # What the multipliers that follow from a alone leave: the primal minus the dual value.
        true_gap = np.where(
            absent, 0.0, np.maximum(slope, 0) * at.a + np.maximum(-slope, 0) * at.room
        ).sum(-1)
        better = true_gap < best[busy]
        result[busy[better]] = np.where(absent, 0.0, at.a)[better]
        best[busy[better]] = true_gap[better]
        # Beyond this the steps are rounding.
        inside = np.minimum(at.a, at.room).min(-1) > 1e-14
        left = (best[busy] > 1e-12 * total[busy]) & inside
        if not left.any():
            break
        at, off, gap = _Interior(*(value[left] for value in at)), off[left], gap[left]
        busy, absent = busy[left], absent[left]
        zero = np.zeros_like(off)
        by = _newton(rows[busy], absent, off, at, zero, zero)
        k = _longest(at, by)
        after = (at.low + k * by.low) * (at.a + k * by.a)
        after += (at.high + k * by.high) * (at.room + k * by.room)
        after = np.where(absent, 0.0, after).sum(-1, keepdims=True)
        pairs = 2 * np.maximum((~absent).sum(-1, keepdims=True), 1)
        aim = np.clip((after / gap) ** 3, 0.05, 1) * gap / pairs
        by = _newton(rows[busy], absent, off, at, aim - by.a * by.low, aim - by.room * by.high)
        k = _longest(at, by)
        for value, now, change in zip(everything, at, by, strict=True):
            value[busy] = now + k * change
    if (best > 1e-8 * total).any():
        raise ArithmeticError(f"{(best > 1e-8 * total).sum()} of {len(c)} sets did not converge")
    return result


def _newton(
    rows: Array, absent: Mask, off: Array, at: _Interior, low_aim: Array, high_aim: Array
) -> _Interior:
    """The step after which low · a = low_aim and high · room = high_aim, to first order."""
    right = -off + low_aim / at.a - at.low - high_aim / at.room + at.high
    da = _low_rank_solve(rows, at.low / at.a + at.high / at.room, right)
    da = np.where(absent, 0.0, da)
    low = np.where(absent, 0.0, (low_aim - at.low * da) / at.a - at.low)
    high = np.where(absent, 0.0, (high_aim + at.high * da) / at.room - at.high)
    return _Interior(da, -da, low, high)


def _longest(at: _Interior, by: _Interior) -> Array:
    """The share of the step, at most 1, that keeps everything positive, with a little room."""
    with np.errstate(divide="ignore", invalid="ignore"):
        limits = [
            np.where(change < 0, -value / change, np.inf).min(-1, keepdims=True)
            for value, change in zip(at, by, strict=True)
        ]
    return np.minimum(1.0, 0.95 * np.minimum.reduce(limits))


def _low_rank_solve(rows: Array, diagonal: Array, right: Array) -> Array:
    """x with (diag(diagonal) + rows rowsᵀ) x = right, in the smaller of both dimensions."""
    n, d = rows.shape[1:]
    if n <= d:
        matrix = rows @ rows.swapaxes(-1, -2)
        matrix[:, np.arange(n), np.arange(n)] += diagonal
        return np.linalg.solve(matrix, right[..., None])[..., 0]
    scaled = rows / diagonal[..., None]
    inner = rows.swapaxes(-1, -2) @ scaled
    inner[:, np.arange(d), np.arange(d)] += 1

    def solve(right: Array) -> Array:
        first = right / diagonal
        middle = np.linalg.solve(inner, np.einsum("snd,sn->sd", rows, first)[..., None])[..., 0]
        return first - np.einsum("snd,sd->sn", scaled, middle)

    # The formula of Woodbury loses digits where the diagonal is uneven; refining restores them.
    x = solve(right)
    off = right - diagonal * x - np.einsum("snd,sd->sn", rows, np.einsum("snd,sn->sd", rows, x))
    return x + solve(off)
