"""Retraining without examples: against plain loops, closed forms and the exact quadratic model."""

import dataclasses

import numpy as np
import pytest
import torch
import transformers as hf

from lib.config import grids, job_kinds
from lib.data.examples import Encoded
from lib.results import tables
from lib.theory import full_tuning, network, retraining_study
from lib.theory.retraining import Retraining, descend, minimize

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


LEFT_OUT = {"each": np.arange(N)[:, None], "pairs": np.array([[0, 3], [5, 1], [6, 7]])}


def problem_of(losses, left_out=LEFT_OUT["each"], normalization="N1"):
    return Retraining(losses, left_out, ANCHOR, 0.3, normalization)


@pytest.mark.parametrize("normalization", ["N1", "N2"])
@pytest.mark.parametrize("which", LEFT_OUT)
def test_runs_side_by_side_are_those_of_a_plain_loop(which, normalization):
    losses = QuadraticLosses(np.random.default_rng(0))
    problem = problem_of(losses, LEFT_OUT[which], normalization)
    found = descend(problem, START, rate=0.1, steps=7)
    ends = []
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
    assert torch.allclose(found.weights, torch.stack(ends), rtol=1e-12, atol=1e-12)
    apart = [torch.linalg.vector_norm(w - ends[0]).item() for w in ends[1:]]
    assert found.apart[-1] == pytest.approx(apart) and (found.apart[0] == 0).all()
    assert found.moved[-1, 0] == pytest.approx(torch.linalg.vector_norm(ends[0]).item())


@pytest.mark.parametrize("normalization", ["N1", "N2"])
def test_minimisers_and_estimated_constants_are_those_of_the_matrices(normalization):
    losses = QuadraticLosses(np.random.default_rng(2))
    problem = problem_of(losses, normalization=normalization)
    how = {"curvature": 0.5, "smoothness": 8.0, "tolerance": 1e-12, "steps": 2000}
    found = minimize(problem, START, **how)
    hessians, centres = losses.hessians.numpy(), losses.centres.numpy()
    pulls = np.einsum("jpq,jq->jp", hessians, centres)
    own, shares = 0.3 * (normalization == "N1"), problem.shares.numpy()
    whole = np.tensordot(shares, hessians, 1) + 0.3 * np.eye(SIZE)
    for r, share in enumerate(shares):
        exact = np.linalg.solve(whole[r], share @ pulls + 0.3 * ANCHOR.numpy())
        assert found.weights[r].numpy() == pytest.approx(exact, abs=1e-9)
        if r:
            gradient = hessians[r - 1] @ (exact - centres[r - 1]) + own * (exact - ANCHOR.numpy())
            assert found.held_out[r - 1] == pytest.approx(np.linalg.norm(gradient), rel=1e-6)
    at_start = full_tuning.spectrum(problem, START[None], [0])
    constants = full_tuning.estimate(problem, START, found, at_start, few=N)
    low, high = np.linalg.eigvalsh(whole)[:, [0, -1]].T
    close = {"rel": 0.03, "abs": 1e-6}
    assert constants.curvature == pytest.approx(low[0], **close)
    assert constants.curvature <= low[0] * (1 + 1e-12)
    assert constants.smoothness == pytest.approx(high.max(), **close)
    assert constants.curvature_without == pytest.approx(low[1:].min(), **close)
    sharp = np.linalg.eigvalsh(hessians)[:, -1] + own
    assert constants.sharpness == pytest.approx(sharp, **close)
    assert constants.hessian_lipschitz == pytest.approx(0, abs=1e-9)


def study_of(losses, case, left_out=LEFT_OUT["each"], **how):
    origin = retraining_study.origin_of(losses, ANCHOR)
    how = {"precision": torch.float64, "few": losses.n, "search": 3000} | how
    return retraining_study.study(losses, case, origin, left_out, **how)


def case_of(**values):
    return retraining_study.Case(**({"regularization": 0.3, "rates": (0.1, 1.0)} | values))


@pytest.mark.parametrize("normalization", ["N1", "N2"])
@pytest.mark.parametrize("which", LEFT_OUT)
def test_on_the_exact_model_every_bound_holds_and_none_is_empty(which, normalization):
    for seed in range(4):
        losses = QuadraticLosses(np.random.default_rng(seed), least=0.1)
        found = study_of(losses, case_of(normalization=normalization), LEFT_OUT[which]).rows
        expected = {"T1", "T1c", "T3"} if which == "pairs" else {
            "T1", "T1c", "T2", "T2'", "T3", "T4", "T5"}  # fmt: skip
        assert set(found["theorem"]) == expected
        assert (found["reason"] == "").all() and (found["comparisons"] > 0).all()
        assert found["violations"].sum() == 0
        assert found.groupby("theorem")["ratio"].max().between(0.01, 1 + 1e-9).all()


def test_what_is_known_of_one_start_serves_another():
    losses = QuadraticLosses(np.random.default_rng(0), least=0.1)
    first = study_of(losses, case_of())
    moved = study_of(losses, case_of(start_factor=-3.0), known=first)
    back = study_of(losses, case_of(), known=moved)
    far, near, again = (one.summary["distance"].iloc[0] for one in (moved, first, back))
    assert far == pytest.approx(4 * near, rel=0.05) and again == near
    for found in (first, moved, back):
        assert (found.rows["reason"] == "").all() and found.rows["violations"].sum() == 0
        assert found.rows["ratio"].max() > 0.3
    assert back.rows["bound_mean"].to_numpy() == pytest.approx(first.rows["bound_mean"].to_numpy())


def test_a_bound_that_is_too_small_is_counted_as_violated():
    """With a curvature ten times too large T3 fails on the exact model, and it is seen."""
    losses = QuadraticLosses(np.random.default_rng(0), least=0.1)
    case = case_of(rates=(0.2,), steps=60)
    known = study_of(losses, case)
    false = dataclasses.replace(
        known.constants, curvature=10 * known.constants.curvature, smoothness=20.0
    )
    again = study_of(losses, case, known=dataclasses.replace(known, constants=false))
    assert again.rows.groupby("theorem")["violations"].sum()["T3"] > 0


def test_the_rate_beyond_the_limit_has_no_bound():
    losses = QuadraticLosses(np.random.default_rng(3))
    found = study_of(losses, case_of(rates=(1.0, 1.6))).rows
    beyond = found[(found["rate_factor"] == 1.6) & ~found["theorem"].isin(["T3"])]
    assert beyond["bound_mean"].isna().all() and (beyond["comparisons"] == 0).all()
    assert beyond["reason"].str.contains("rate ≤ 2 / ").all()
    assert (found.loc[found["rate_factor"] == 1.0, "reason"] == "").all()


def test_negative_curvature_has_no_bound_and_is_run_all_the_same():
    losses = BentLosses(np.random.default_rng(4))
    weak = study_of(losses, case_of(regularization=0.1))
    assert weak.constants is None and weak.rows["bound_mean"].isna().all()
    assert weak.rows["reason"].str.contains("curvature > 0 at the start").all()
    measured = weak.rows[weak.rows["theorem"] == "T1"]["measured_mean"]
    assert np.isfinite(measured).all() and (measured > 0).all()
    strong = study_of(losses, case_of(regularization=4.0)).rows
    assert (strong["reason"] == "").all() and strong["violations"].sum() == 0


def test_fitting_is_the_full_run_alone():
    losses = QuadraticLosses(np.random.default_rng(9))
    fitted = retraining_study.fit(losses, ANCHOR, 0.3, rate=0.1, steps=12)
    whole = descend(problem_of(losses), ANCHOR, rate=0.1, steps=12).weights[0]
    assert fitted.dtype == torch.float64 and torch.allclose(fitted, whole, atol=1e-5)


# A network.


@pytest.fixture(scope="module")
def bert():
    config = hf.BertConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=20, num_labels=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = hf.BertForSequenceClassification(config).eval()
    rng = np.random.default_rng(0)
    lengths = [4, 6, 5, 3]
    return model, Encoded(
        tokens=rng.integers(1, 40, sum(lengths)).astype(np.int32),
        types=np.zeros(sum(lengths), np.int8),
        starts=np.cumsum([0, *lengths]),
        labels=np.array([0, 1, 1, 0]),
        example_ids=np.array(list("abcd")),
        pad_id=np.array(0),
    )


def test_a_network_has_the_losses_and_gradients_of_its_model(bert):
    model, data = bert
    losses = network.TextLosses(model, data)
    found = losses(losses.start[None].requires_grad_())[0]
    alone = []
    for i in range(4):
        ids = torch.from_numpy(data.tokens[data.starts[i] : data.starts[i + 1]]).long()[None]
        logits = model(input_ids=ids).logits
        alone.append(torch.nn.functional.cross_entropy(logits, torch.tensor([data.labels[i]])))
    assert found.tolist() == pytest.approx([loss.item() for loss in alone], abs=1e-6)
    model.zero_grad()
    sum(alone).backward()
    weights = losses.start[None].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses(weights).sum(), weights)
    whole = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
    norm = torch.linalg.vector_norm
    assert norm(gradient).item() == pytest.approx(norm(whole).item(), rel=1e-5)
    # Words that do not occur are cut off: they would have had no gradient.
    unused = model.bert.embeddings.word_embeddings.weight.grad.abs().sum(1) == 0
    total = sum(w.numel() for w in model.parameters())
    positions = (20 - 6) * 8
    padding = 8  # the padding token stays, though it gets no gradient either
    assert len(losses.start) == total - int(unused.sum()) * 8 - positions + padding


def test_runs_of_a_network_are_those_of_each_alone(bert):
    model, data = bert
    losses = network.TextLosses(model, data)
    problem = Retraining(losses, np.arange(4)[:, None], losses.start, 0.5)
    together = descend(problem, losses.start, rate=0.3, steps=5)
    for i in range(4):
        alone = Retraining(losses, np.array([[i]]), losses.start, 0.5)
        one = descend(alone, losses.start, rate=0.3, steps=5)
        assert one.apart[:, 0] == pytest.approx(together.apart[:, i], rel=1e-9, abs=1e-12)
        assert one.lipschitz[:, 0] == pytest.approx(together.lipschitz[:, i], rel=1e-9)
    single = descend(problem, losses.start.float(), rate=0.3, steps=5)
    assert single.apart == pytest.approx(together.apart, abs=full_tuning.ROUNDING)


def test_other_models_and_regression_are_refused(bert):
    model, data = bert
    floats = dataclasses.replace(data, labels=np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    with pytest.raises(ValueError, match="expected a BERT and class labels"):
        network.TextLosses(model, floats)


def test_short_rows_are_balanced_and_nested(bert):
    _, data = bert
    few = network.short_rows(data, 2, longest=5, seed=1)
    assert sorted(data.labels[few]) == [0, 1] and (data.lengths[few] <= 5).all()
    more = network.short_rows(data, 4, longest=6, seed=1)
    assert sorted(more) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="rows of at most 4 tokens are"):
        network.short_rows(data, 4, longest=4)


# The committed measurements.


def test_the_reference_holds_every_job_and_no_bound_without_its_assumptions():
    [plan] = grids.load_plans("theory")
    for kind in ("full", "tuned"):
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
