"""Retraining without examples: against plain loops, closed forms and the exact quadratic model."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from support.tiny_models import bert_on_texts

from lib.config import grids, job_kinds
from lib.results import tables
from lib.theory import network, quadratic
from lib.theory.network import Retraining, descend, influence, minimize

N, SIZE = 8, 6
START, ANCHOR = torch.zeros(SIZE).double(), torch.linspace(-1, 1, SIZE, dtype=torch.float64)


class QuadraticLosses:
    """½ (w − a_j)ᵀ H_j (w − a_j), j = 1 … n: the exact Taylor-quadratic model."""

    def __init__(self, rng, n=N, size=SIZE, least=0.5):
        roots = rng.normal(size=(n, size, size)) / np.sqrt(size)
        self.n = n
        self.hessians = torch.from_numpy(roots @ roots.transpose(0, 2, 1) + least * np.eye(size))
        self.centres = torch.from_numpy(rng.normal(size=(n, size)))

    def __call__(self, weights, rows=None):
        everyone = torch.arange(self.n).expand(len(weights), -1)
        rows = everyone if rows is None else rows
        away = weights[:, None] - self.centres[rows].to(weights.dtype)
        hessians = self.hessians[rows].to(weights.dtype)
        return 0.5 * torch.einsum("rkp,rkpq,rkq->rk", away, hessians, away)


class BentLosses(QuadraticLosses):
    """The same, minus a bowl: concave in some direction unless the regulariser is strong."""

    def __call__(self, weights, rows=None):
        return super().__call__(weights, rows) - (weights**2).sum(1, keepdim=True)


ENDS = {"curvature": 0.5, "smoothness": 8.0, "tolerance": 1e-9, "steps": 3000}
LEFT_OUT = {"each": np.arange(N)[:, None], "pairs": np.array([[0, 3], [5, 1], [6, 7]])}


def problem_of(losses, left_out=LEFT_OUT["each"], normalization="N1"):
    return Retraining(losses, left_out, ANCHOR, 0.3, normalization)


@pytest.mark.parametrize("normalization", ["N1", "N2"])
@pytest.mark.parametrize("which", LEFT_OUT)
def test_runs_side_by_side_are_those_of_a_plain_loop(which, normalization):
    losses = QuadraticLosses(np.random.default_rng(0))
    problem = problem_of(losses, LEFT_OUT[which], normalization)
    found = descend(problem, START, rate=0.1, steps=7)
    ends, steepest = [], []
    for out in [[], *LEFT_OUT[which].tolist()]:
        kept = [j for j in range(N) if j not in out]
        weight = 1 / len(kept) if normalization == "N1" else 1 / N

        def value(w, kept=kept, weight=weight):
            each = weight * losses(w[None])[0, kept].sum()
            return each + 0.15 * ((w - ANCHOR) ** 2).sum()

        w = START.clone()
        for _ in range(7):
            w = (w - 0.1 * torch.autograd.functional.jacobian(value, w)).detach()
        ends.append(w)
        parts = [out, kept] if normalization == "N1" else [out]
        each = torch.autograd.functional.jacobian(lambda w: losses(w[None])[0], START + 9)
        norms = [each[part].mean(0).norm().item() for part in parts if part]
        steepest.append(max(norms, default=0.0))
    assert torch.allclose(found.weights, torch.stack(ends), rtol=1e-12, atol=1e-12)
    far = descend(problem, START + 9, rate=0.1, steps=0)
    assert far.lipschitz[0] == pytest.approx(steepest[1:])
    apart = [torch.linalg.vector_norm(w - ends[0]).item() for w in ends[1:]]
    assert found.apart[-1] == pytest.approx(apart) and (found.apart[0] == 0).all()


def test_the_way_is_measured_from_the_start_and_ends_at_a_loss():
    problem = problem_of(QuadraticLosses(np.random.default_rng(1)))
    whole = descend(problem, START + 3, rate=0.05, steps=60)
    weights = [START + 3]
    for _ in range(60):
        w = weights[-1][None]
        gradient = problem.gradients(w.expand(N + 1, -1))[0][0] + problem.pull(w)[0]
        weights.append(weights[-1] - 0.05 * gradient)
    moves = torch.stack(weights).diff(dim=0).norm(dim=1)
    assert whole.path == pytest.approx(np.r_[0, moves.cumsum(0)])
    away = [torch.linalg.vector_norm(w - weights[0]).item() for w in weights]
    assert whole.distance == pytest.approx(away)
    assert (whole.distance <= whole.path + 1e-12).all() and whole.distance[-1] < whole.path[-1]
    # A quarter of the way from one step to the next, in the loss.
    before, after = whole.losses[7:9, 0]
    found = whole.reach(0.75 * before + 0.25 * after)
    assert found["steps"] == pytest.approx(7.25)
    for name, way in {"distance": away, "moved": whole.apart.mean(1)}.items():
        assert found[name] == pytest.approx(0.75 * way[7] + 0.25 * way[8])
    assert whole.reach(whole.losses[0, 0] + 1)["distance"] == 0
    assert np.isnan(list(whole.reach(whole.losses.min() - 1).values())).all()
    late = whole.losses[40, 0]
    assert (whole.losses[:40, 1:] < late).any(), "a run without an example is there first"
    short = descend(problem, START + 3, rate=0.05, steps=60, until=late)
    assert len(short.losses) == 41 and short.reach(late) == whole.reach(late)


@pytest.mark.parametrize("start", [0.2, 3.0])
def test_a_nearer_start_is_seen_as_nearer_and_steadies_before_the_end(start):
    """What T2 says of the exact model, and that the way to a minimiser finds the true one."""
    problem = problem_of(QuadraticLosses(np.random.default_rng(1)))
    points, _ = minimize(problem, START, **ENDS)
    runs = [descend(problem, points[0] + s, rate=0.05, steps=3) for s in (start, 2 * start)]
    far = descend(problem, points[0] + start, rate=0.05, steps=2000)
    assert far.distance[-1] == pytest.approx(start * SIZE**0.5, rel=1e-6)
    assert runs[0].apart[-1].mean() < runs[1].apart[-1].mean()


@pytest.mark.parametrize("normalization", ["N1", "N2"])
def test_minimisers_and_estimated_constants_are_those_of_the_matrices(normalization):
    losses = QuadraticLosses(np.random.default_rng(2))
    problem = problem_of(losses, normalization=normalization)
    how = {"curvature": 0.5, "smoothness": 8.0, "tolerance": 1e-12, "steps": 2000}
    found, residual = minimize(problem, START, **how)
    hessians, centres = losses.hessians.numpy(), losses.centres.numpy()
    pulls = np.einsum("jpq,jq->jp", hessians, centres)
    held_out, own, shares = [], 0.3 * (normalization == "N1"), problem.shares.numpy()
    whole = np.tensordot(shares, hessians, 1) + 0.3 * np.eye(SIZE)
    for r, share in enumerate(shares):
        exact = np.linalg.solve(whole[r], share @ pulls + 0.3 * ANCHOR.numpy())
        assert found[r].numpy() == pytest.approx(exact, abs=1e-9)
        if r:
            gradient = hessians[r - 1] @ (exact - centres[r - 1]) + own * (exact - ANCHOR.numpy())
            held_out.append(np.linalg.norm(gradient))
    constants = network.estimate(problem, found, residual, few=N)
    constants = constants.seen_from(START, problem.ends(START), problem, found)
    away = [torch.linalg.vector_norm(point - START).item() for point in found]
    assert [constants.distance, *constants.distance_without] == pytest.approx(away)
    assert constants.gradient == pytest.approx(held_out, rel=1e-6)
    low, high = np.linalg.eigvalsh(whole)[:, [0, -1]].T
    close = {"rel": 0.03, "abs": 1e-6}
    assert constants.curvature == pytest.approx(low[0], **close)
    assert constants.curvature <= low[0] * (1 + 1e-12)
    assert constants.smoothness == pytest.approx(high.max(), **close)
    assert constants.curvature_without == pytest.approx(low[1:].min(), **close)
    sharp = np.linalg.eigvalsh(hessians)[:, -1] + own
    assert constants.sharpness == pytest.approx(sharp, **close)
    assert constants.hessian_lipschitz == pytest.approx(0, abs=1e-9)


def study_of(losses, left_out=LEFT_OUT["each"], *, strength=0.3, normalization="N1", **how):
    problem = Retraining(losses, left_out, ANCHOR, strength, normalization)
    how = {"rates": (0.1, 1.0), "search": 3000} | how
    return network.study(problem, ANCHOR, problem.ends(ANCHOR), **how)


@pytest.mark.parametrize("normalization", ["N1", "N2"])
@pytest.mark.parametrize("which", LEFT_OUT)
def test_on_the_exact_model_every_bound_holds_and_none_is_empty(which, normalization):
    for seed in range(4):
        losses = QuadraticLosses(np.random.default_rng(seed), least=0.1)
        found, *_ = study_of(losses, LEFT_OUT[which], normalization=normalization)
        expected = {"T1", "T1c", "T3"} if which == "pairs" else {
            "T1", "T1c", "T2", "T2′", "T3", "T4", "T5"}  # fmt: skip
        assert set(found["theorem"]) == expected
        assert (found["reason"] == "").all() and (found["comparisons"] > 0).all()
        assert found["violations"].sum() == 0
        assert found.groupby("theorem")["ratio"].max().between(0.01, 1 + 1e-9).all()


def test_starts_share_the_minimisers_and_each_has_its_own_distance():
    losses = QuadraticLosses(np.random.default_rng(0), least=0.1)
    bounds, constants, _ = study_of(losses, start_factors=(0.0, -3.0, 0.0))
    near, far, again = constants.query("rate_factor == 1.0")["distance"]
    assert far == pytest.approx(4 * near, rel=0.05) and again == near
    assert (bounds["reason"] == "").all() and bounds["violations"].sum() == 0
    assert bounds.groupby("start_factor")["ratio"].max().min() > 0.3
    assert set(constants.select_dtypes(exclude="number")) == {"reason"}
    first = study_of(losses)[0]["bound_mean"].to_numpy()
    assert bounds["bound_mean"].to_numpy()[-len(first) :] == pytest.approx(first)


def test_a_bound_that_is_too_small_is_counted_as_violated():
    """With a curvature ten times too large T3 fails on the exact model, and it is seen."""
    problem = problem_of(QuadraticLosses(np.random.default_rng(0), least=0.1))
    found = minimize(problem, ANCHOR, curvature=0.2, smoothness=8.0, steps=3000)
    known = network.estimate(problem, *found)
    runs = descend(problem, ANCHOR, rate=0.02, steps=60)
    for factor, false in ((1, False), (10, True)):
        given = dataclasses.replace(known, curvature=factor * known.curvature, smoothness=20.0)
        rows = network.compare(problem, runs, 0.02, given).set_index("theorem")
        assert (rows.loc["T3", "violations"] > 0) == false


@pytest.mark.parametrize("which", LEFT_OUT)
def test_bounds_are_given_the_constants_and_the_largest_gradient_along_the_run(which):
    problem = problem_of(QuadraticLosses(np.random.default_rng(0)), LEFT_OUT[which])
    points, residual = minimize(problem, ANCHOR, **ENDS)
    known = network.estimate(problem, points, residual)
    for r, rows in enumerate(LEFT_OUT[which]):

        def left_out(w, rows=rows):
            each = problem.losses(w[None])[0] + 0.15 * ((w - ANCHOR) ** 2).sum()
            return each[rows].sum()

        gradient = torch.autograd.functional.jacobian(left_out, points[r + 1])
        assert known.gradient[r] == pytest.approx(gradient.norm().item(), rel=1e-6)
    known = dataclasses.replace(known, smoothness=20.0, hessian_lipschitz=1e-3)
    runs, k = descend(problem, ANCHOR, rate=0.02, steps=9), LEFT_OUT[which].shape[1]
    values = {"n": N, "lipschitz": k * runs.lipschitz.max(), "smoothness": 20.0, "rate": 0.02}
    rows = network.compare(problem, runs, 0.02, known).query("steps in (-1, 9)")
    rows = rows.set_index("theorem")["bound_max"]
    local = known.at_minimum - 1e-3 * max(known.distance, (2 * known.shift).max())
    for theorem, curvature in {"T1": known.curvature, "T5": local}.items():
        if theorem in rows:
            exact = quadratic.strongly_convex(**values, curvature=curvature, steps=9)
            assert rows[theorem] == pytest.approx(exact)
    assert rows["T1c"] == pytest.approx(quadratic.convex(**values, steps=9))
    assert rows["T3"] == pytest.approx(known.gradient.max() / (N * known.curvature))
    assert ("T5" in rows) == (which == "each")


@pytest.mark.parametrize(
    ("constant", "value", "failing", "words"),
    [
        ("curvature", -0.1, {"T1", "T1c", "T2", "T2′", "T3", "T4", "T5"}, "curvature"),
        ("residual", 1e-2, {"T2", "T2′", "T3", "T4", "T5"}, "minimisers are found"),
        ("hessian_lipschitz", 99.0, {"T5"}, "hessian_lipschitz"),
    ],
)
def test_an_assumption_that_fails_takes_the_bounds_that_need_it(constant, value, failing, words):
    problem = problem_of(QuadraticLosses(np.random.default_rng(0)))
    known = network.estimate(problem, *minimize(problem, ANCHOR, **ENDS))
    known = dataclasses.replace(known, **{"smoothness": 20.0, constant: value})
    rows = network.compare(problem, descend(problem, ANCHOR, rate=0.02, steps=2), 0.02, known)
    without = rows[rows["reason"] != ""]
    assert set(without["theorem"]) == failing
    assert without["reason"].str.contains(words).all() and (without["comparisons"] == 0).all()
    assert without["bound_mean"].isna().all() and without["measured_mean"].notna().all()


def test_the_start_widens_the_constants_and_never_narrows_them():
    losses = LogisticLosses(np.random.default_rng(6))
    problem = Retraining(losses, np.arange(3)[:, None], START, 0.05)
    points, residual = minimize(problem, START, curvature=0.05, smoothness=5.0, steps=3000)
    known = network.estimate(problem, points, residual)
    known = dataclasses.replace(known, hessian_lipschitz=0.0)

    def dense(w):
        wrong = torch.sigmoid(-losses.z @ w)
        return (losses.z.T * (wrong * (1 - wrong) / losses.n)) @ losses.z

    there = points[0] + 1
    changed = torch.linalg.matrix_norm(dense(there) - dense(points[0]), 2) / SIZE**0.5
    for ends in (network.Ends(-1.0, 99.0, 0.0, 0.0), network.Ends(1.0, 0.01, 0.0, 0.0)):
        found = known.seen_from(there, ends, problem, points)
        assert found.curvature == min(known.curvature, ends.low)
        assert found.smoothness == max(known.smoothness, ends.high)
        assert found.hessian_lipschitz == pytest.approx(changed.item(), rel=0.05)
        assert found.distance == pytest.approx(SIZE**0.5)
    again = found.seen_from(points[0], ends, problem, points)
    assert again.hessian_lipschitz == found.hessian_lipschitz and again.distance == 0


def test_the_rate_beyond_the_limit_has_no_bound():
    losses = QuadraticLosses(np.random.default_rng(3))
    found, *_ = study_of(losses, rates=(1.0, 1.6))
    beyond = found[(found["rate_factor"] == 1.6) & ~found["theorem"].isin(["T3"])]
    assert beyond["bound_mean"].isna().all() and (beyond["comparisons"] == 0).all()
    assert beyond["reason"].str.contains("rate ≤ 2 / ").all()
    assert (found.loc[found["rate_factor"] == 1.0, "reason"] == "").all()


def test_negative_curvature_has_no_bound_and_is_run_all_the_same():
    losses = BentLosses(np.random.default_rng(4))
    bounds, constants, removals = study_of(losses, strength=0.1)
    assert removals.empty and bounds["bound_mean"].isna().all()
    assert bounds["reason"].str.contains("curvature > 0 where one looks").all()
    assert (constants["reason"] == bounds["reason"].iloc[0]).all()
    assert (constants["curvature"] < 0).all()
    measured = bounds[bounds["theorem"] == "T1"]["measured_mean"]
    assert np.isfinite(measured).all() and (measured > 0).all()
    strong, *_ = study_of(losses, strength=4.0)
    assert (strong["reason"] == "").all() and strong["violations"].sum() == 0


# Influence.


@pytest.mark.parametrize("normalization", ["N1", "N2"])
@pytest.mark.parametrize("which", LEFT_OUT)
def test_influence_is_exact_where_losses_are_quadratic(which, normalization):
    problem = problem_of(QuadraticLosses(np.random.default_rng(5)), LEFT_OUT[which], normalization)
    found, _ = minimize(problem, START, curvature=0.5, smoothness=8.0, tolerance=1e-13, steps=3000)
    predicted = influence(problem, found[0], tolerance=1e-12)
    assert predicted == pytest.approx((found[1:] - found[0]).numpy(), rel=1e-8, abs=1e-9)
    table = network.compare_influence(found, predicted)
    assert table[["influence_ratio", "influence_cosine"]].to_numpy() == pytest.approx(1.0)
    # The effect of a removal alone: from any point, exact for a quadratic with that point's pull.
    away = influence(problem, found[0] + 1, tolerance=1e-12)
    ends = problem.gradients((found[0] + 1).expand(len(predicted) + 1, -1))[0].numpy()
    for run, change in enumerate(away):
        whole = problem.hessian(found[0], run + 1) @ change + 0.3 * change
        assert whole == pytest.approx(ends[0] - ends[run + 1], rel=1e-7, abs=1e-9)


class LogisticLosses:
    """log(1 + exp(−y w·x)) of n examples."""

    def __init__(self, rng, n=30, size=SIZE):
        self.n = n
        self.z = torch.from_numpy(rng.normal(size=(n, size)) + 0.5)

    def __call__(self, weights, rows=None):
        z = self.z if rows is None else self.z[rows]
        return torch.nn.functional.softplus(-(z @ weights[..., None])[..., 0])


def test_influence_on_a_logistic_model_is_its_closed_form_and_near_the_truth():
    losses = LogisticLosses(np.random.default_rng(6))
    problem = Retraining(losses, np.arange(30)[:, None], START, 0.05)
    found, _ = minimize(problem, START, curvature=0.05, smoothness=5.0, tolerance=1e-12, steps=3000)
    z, minimum = losses.z.numpy(), found[0].numpy()
    wrong = 1 / (1 + np.exp(z @ minimum))
    predicted = influence(problem, found[0], tolerance=1e-12)
    for i in range(30):
        others = np.delete(np.arange(30), i)
        curved = (wrong * (1 - wrong))[others, None] * z[others]
        hessian = z[others].T @ curved / 29 + 0.05 * np.eye(SIZE)
        gradient = -(wrong[others] @ z[others]) / 29 + 0.05 * minimum
        assert predicted[i] == pytest.approx(-np.linalg.solve(hessian, gradient), abs=1e-8)
    table = network.compare_influence(found, predicted)
    assert stats.spearmanr(table["influence"], table["apart"]).statistic > 0.99
    assert (
        table["influence_ratio"].between(0.8, 1.1).all() and table["influence_cosine"].min() > 0.98
    )


def test_influence_is_missing_where_there_is_no_minimum_or_no_time():
    rng = np.random.default_rng(7)
    bent = Retraining(BentLosses(rng), LEFT_OUT["each"], ANCHOR, 0.1)
    assert np.isnan(influence(bent, START)).all(1).any()
    whole = problem_of(QuadraticLosses(rng))
    assert np.isnan(influence(whole, START, tolerance=1e-12, steps=2)).all()
    assert not np.isnan(influence(whole, START, tolerance=1e-12)).any()


# A network.


@pytest.fixture(scope="module")
def bert():
    return network.TextLosses(
        *bert_on_texts([4, 6, 5, 3, 8, 7, 3, 5, 6, 4, 8, 7], [0, 1, 1, 0] * 3)
    )


def test_influence_ranks_the_examples_of_a_network_as_retraining_does(bert):
    problem = Retraining(bert, np.arange(12)[:, None], bert.start, 5.0)
    at_start = problem.ends(bert.start)
    _, constants, removals = network.study(problem, bert.start, at_start, search=400)
    assert (constants["influence_order"] > 0.95).all()
    assert removals["influence_ratio"].between(0.9, 1.1).all()
    assert removals["influence_cosine"].min() > 0.99
    pd.testing.assert_series_equal(
        constants[removals.columns].iloc[0], removals.mean(), check_names=False
    )


def test_runs_of_a_network_are_those_of_each_alone(bert):
    few = np.arange(4)[:, None]
    problem = Retraining(bert, few, bert.start, 0.5)
    together = descend(problem, bert.start, rate=0.3, steps=5)
    for i in range(4):
        one = descend(
            dataclasses.replace(problem, left_out=few[[i]]), bert.start, rate=0.3, steps=5
        )
        assert one.apart[:, 0] == pytest.approx(together.apart[:, i], rel=1e-9, abs=1e-12)
        assert one.lipschitz[:, 0] == pytest.approx(together.lipschitz[:, i], rel=1e-9)
    single = descend(problem, bert.start.float(), rate=0.3, steps=5)
    assert single.apart == pytest.approx(together.apart, abs=network.ROUNDING)
    alone = dataclasses.replace(problem, left_out=np.zeros((0, 1), int))
    whole = descend(alone, bert.start, rate=0.3, steps=5).weights
    assert torch.allclose(whole, together.weights[:1]) and len(whole) == 1


# The committed measurements.


def test_the_reference_holds_every_job_and_no_bound_without_its_assumptions():
    [plan] = grids.load_plans("theory")
    for kind in ("full", "tuned", "ways"):
        names = [job.name for job in plan.groups.values() if job.kind == kind]
        for table in job_kinds.KINDS[kind].tables:
            assert set(tables.read_stored("reference-theory", table, names)["job"]) == set(names)
    rows = tables.read_stored("reference-theory", "full_tuning")
    bound = rows["reason"] == ""
    assert rows["bound_mean"].notna().equals(bound) and (rows["comparisons"] > 0).equals(bound)
    assert rows["violations"].sum() == 0 and rows["comparisons"].sum() > 20_000
    assert (rows.loc[rows["rate_factor"] > 1, "theorem"][bound] == "T3").all()
    constants = tables.read_stored("reference-theory", "full_constants")
    failing = constants.loc[constants["curvature"] <= 0, "job"]
    assert len(failing) and (constants.loc[failing.index, "reason"] != "").all()


def test_starts_of_a_pair_differ_in_surt_alone():
    ways = tables.read_stored("reference-theory", "ways")
    own = ["loss_start", "gradient", "low", "high", "length", "retrained"]
    starts = ways.groupby(["task", "seed", "epochs"])[own].nunique()
    assert (starts == 1).all(axis=None) and len(starts) == 48
    assert ways.loc[ways["epochs"] == 0, "retrained"].eq(0).all()
    moved = ways.drop_duplicates(["task", "seed", "epochs"]).set_index("epochs")["retrained"]
    assert 0 < moved[3].max() < moved[10].min()
    known = ways.dropna(subset="distance")
    assert (known[["distance", "moved"]] > 0).all(axis=None)
    to_loss = known[known["to"] == "loss"]
    assert (to_loss["distance"] <= to_loss["path"]).all()
    # The lower the loss, and the weaker the pull, the longer the way.
    longer = known.assign(end=known["level"]).sort_values("end", ascending=False)
    for _, part in longer.groupby(["task", "seed", "epochs", "to"]):
        assert part["distance"].is_monotonic_increasing and part["moved"].is_monotonic_increasing
