"""The runs of a group as one object: held against the group's own tables."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest
from support.invented_runs import make_runs

from lib import measures
from lib.analysis import consistency
from lib.measures import summary
from lib.results import run_group, tables
from lib.results.run_group import RunGroup

NAME, POOLING = "reference", "mean"


@pytest.fixture(scope="module")
def groups():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tables.MixedCodeWarning)
        return run_group.load(NAME)[0]


def invented(n_classes=3):
    how = {"metric": "accuracy" if n_classes > 1 else "pearson", "poolings": ("mean",)}
    return RunGroup.of_runs(make_runs(4, n_classes=n_classes, n_layers=2, **how))


def test_layers_are_those_above_the_embeddings(groups):
    folders = {label: group for group, label in tables.group_labels(NAME).items()}
    for label, group in groups.items():
        frame = tables.read(NAME, "distances", [folders[label]])
        rows = frame[(frame["pooling"] == POOLING) & (frame["measure"] == "op")]
        distances = group.layer_distances(POOLING)["op"]
        assert sorted(rows["layer"].unique()) == list(range(len(distances) + 1))
        for row in rows[rows["layer"] > 0].itertuples():
            for a, b in ((row.run_a, row.run_b), (row.run_b, row.run_a)):
                assert distances[row.layer - 1, a, b] == row.distance


def test_pairs_have_the_measures_as_their_means(groups):
    group = next(iter(groups.values()))
    pairs = group.pairs(POOLING)
    upper = np.triu_indices(len(group), 1)
    assert np.sqrt((pairs["sd"][upper] ** 2).mean() / 2) == pytest.approx(group.scores.std(ddof=1))
    statistics = group.statistics(POOLING)
    for measure in set(pairs) - {"sd"}:
        value = statistics[measure](np.ones((1, len(group))))[0]
        assert pairs[measure][upper].mean() == pytest.approx(value)


def test_some_of_the_runs(groups):
    group = next(iter(groups.values()))
    rows = [3, 0, 2]
    some = group.take(rows)
    assert len(some) == 3 and some.names == [group.names[row] for row in rows]
    for measure, matrix in some.pairs(POOLING).items():
        np.testing.assert_array_equal(matrix, group.pairs(POOLING)[measure][np.ix_(rows, rows)])
    np.testing.assert_array_equal(some.logits, group.logits[rows])
    np.testing.assert_array_equal(some.probabilities, group.probabilities[rows])
    masked = group.take(~group.failed)
    assert len(masked) == (group.runs["status"] == "ok").sum() and not masked.failed.any()


def test_what_is_not_finite_is_left_out_and_noted(groups, monkeypatch):
    whole = invented()
    logits = whole.logits.copy()
    logits[1] = np.nan
    lost = RunGroup.of_logits(logits, runs=whole.runs, example_ids=whole.example_ids)
    assert lost.finite().names == ["seed0", "seed2", "seed3"]
    monkeypatch.setattr(tables, "group_labels", lambda _: {"one": "one", "two": "two", "r": "r"})
    regression = invented(n_classes=1)
    stored = {"one": whole.take([0]), "two": lost, "r": regression}
    monkeypatch.setattr(run_group, "read", lambda _: stored)
    found, notes = run_group.load("x")
    assert list(found) == ["two", "r"] and len(found["two"]) == 3
    assert notes == ["two: 1 diverged runs have no predictions"]
    found, notes = run_group.load("x", regression=False)
    assert list(found) == ["two"] and notes[1] == "r: regression, no classes to compare"
    stored |= {"two": regression}
    with pytest.raises(ValueError, match="x: all groups are regression"):
        run_group.load("x", regression=False)
    stored |= {"two": whole.take([0]), "r": whole.take([0])}
    with pytest.raises(ValueError, match="x: no group has two runs"):
        run_group.load("x")


def test_rows_of_measures_are_in_the_order_asked_for():
    group = run_group.score_runs(invented(), "accuracy").with_distances(["op", "cka"])
    names = ("kappa", "sd", "op", "failed", "best")
    table = run_group.measure(group, names, planned=())
    assert table["measure"].tolist() == ["kappa", "sd", "op", "op", "failed", "best"]
    assert table["layer"].dropna().tolist() == [0, 1]
    assert set(table["pooling"].dropna()) == {POOLING}
    assert table["seeds_needed"].isna().all() and (table["n_runs"] == 4).all()
    value = table.set_index("measure")["value"]
    accuracy = (group.predictions == group.labels).mean(1)
    assert value["sd"] == pytest.approx(accuracy.std(ddof=1)) and value["best"] == accuracy.max()
    assert value["kappa"] == pytest.approx(1 - measures.fleiss_kappa(group.predictions))
    op = measures.instability(group.distances["op", POOLING])
    assert value["op"].tolist() == op.value.tolist()


def test_a_group_is_measured_by_what_it_has():
    whole = invented()
    names = whole.runs[["seed_label"]]
    decisions = RunGroup(names, whole.example_ids, whole.predictions, classes=whole.classes)
    assert set(run_group.measure(decisions)["measure"]) == {"disagreement", "kappa", "con"}
    numbers = run_group.score_runs(invented(n_classes=1), "pearson")
    assert set(run_group.measure(numbers)["measure"]) == {
        "failed", "mean", "sd", "iqm", "range", "best", "difference",
    }  # fmt: skip
    unit = numbers.labels.std()
    gaps = [np.abs(a - b).mean() / unit for a, b in itertools.combinations(numbers.predictions, 2)]
    value = run_group.measure(numbers, ["difference"])["value"].item()
    assert value == pytest.approx(np.mean(gaps))
    assert run_group.measure(decisions.take([0])).empty


def test_published_and_corrected_statistics_differ_as_documented(groups):
    group = next(iter(groups.values()))
    n_runs, n = group.predictions.shape
    ones = np.ones((1, n_runs))
    corrected = group.statistics(POOLING)
    published = consistency.published_statistics(group.scores, group.pairs(POOLING), n)
    ours = {m: s(ones)[0] for m, s in corrected.items()}
    theirs = {m: s(ones)[0] for m, s in published.items()}
    assert list(ours) == list(theirs) == list(summary.STUDIED)
    assert theirs["kappa"] == pytest.approx(ours["disagreement"] * n / (n - 1))
    assert ours["kappa"] == pytest.approx(1 - measures.fleiss_kappa(group.predictions))
    assert theirs["sd"] == pytest.approx(group.scores.std(ddof=0))
    for measure in ("disagreement", "jsd", "cka", "op", "svcca"):
        assert theirs[measure] == pytest.approx(ours[measure])


def test_chance_levels_are_means_with_the_range_of_95_of_a_hundred():
    drawn = np.append(np.linspace(0, 1, 101), np.nan)[None]
    group = dataclasses.replace(invented(), chance={("cka", "mean"): drawn})
    group = dataclasses.replace(group, layers={"mean": np.array([2])})
    (row,) = run_group.chance_levels(group).to_dict("records")
    assert (row["measure"], row["layer"], row["n_runs"]) == ("cka", 2, 4)
    assert [row[k] for k in ("low", "value", "high")] == pytest.approx([0.025, 0.5, 0.975])
