"""All measures of a committed group side by side: held against the group's own tables."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest

from lib import evidence, known, measures, paths, tables, validity

NAME = "reference"


@pytest.fixture(scope="module")
def groups():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tables.MixedCodeWarning)
        return evidence.load(NAME, pooling="mean")


def test_the_values_are_those_of_the_committed_table(groups):
    labels = tables.group_labels(NAME)
    table = tables.read(NAME, "measures").query("subset == 'all'")
    table = table.assign(label=table["group"].map(labels))
    for label, one in groups.items():
        last = len(one.layers["cka"])
        for measure, statistic in one.statistics().items():
            value = statistic(np.ones((1, len(one))))[0]
            rows = table[(table["label"] == label) & (table["measure"] == measure)]
            if measure in evidence.REPRESENTATION:
                rows = rows[(rows["pooling"] == "mean") & (rows["layer"] == last)]
            (expected,) = rows["value"]
            assert value == pytest.approx(expected, rel=1e-5, nan_ok=True), (label, measure)


def test_layers_are_those_above_the_embeddings(groups):
    folders = {label: group for group, label in tables.group_labels(NAME).items()}
    for label, one in groups.items():
        frame = pd.read_parquet(paths.results(NAME) / folders[label] / "distances.parquet")
        rows = frame[(frame["pooling"] == "mean") & (frame["measure"] == "op")]
        assert sorted(rows["layer"].unique()) == list(range(len(one.layers["op"]) + 1))
        for row in rows[rows["layer"] > 0].itertuples():
            for a, b in ((row.run_a, row.run_b), (row.run_b, row.run_a)):
                assert one.layers["op"][row.layer - 1, a, b] == row.distance


def test_pairs_have_the_measures_as_their_means(groups):
    one = next(iter(groups.values()))
    pairs = one.pairs()
    upper = np.triu_indices(len(one), 1)
    assert np.sqrt((pairs["sd"][upper] ** 2).mean() / 2) == pytest.approx(one.scores.std(ddof=1))
    values = {m: s(np.ones((1, len(one))))[0] for m, s in one.statistics().items()}
    for measure in set(pairs) - {"sd"}:
        assert pairs[measure][upper].mean() == pytest.approx(values[measure])
    by_hand = [
        (one.predictions[a] != one.predictions[b]).mean()
        for a, b in itertools.combinations(range(len(one)), 2)
    ]
    np.testing.assert_allclose(pairs["disagreement"][upper], by_hand)


def test_some_of_the_runs(groups):
    one = next(iter(groups.values()))
    rows = [3, 0, 2]
    some = one.take(rows)
    assert len(some) == 3 and list(some.seeds) == [one.seeds[row] for row in rows]
    for measure, matrix in some.pairs().items():
        np.testing.assert_array_equal(matrix, one.pairs()[measure][np.ix_(rows, rows)])
    masked = one.take(~one.failed)
    assert len(masked) == (one.status == "ok").sum() and not masked.failed.any()


def test_published_and_corrected_statistics_differ_as_documented(groups):
    one = next(iter(groups.values()))
    n_runs, n = one.predictions.shape
    ones = np.ones((1, n_runs))
    ours = {m: s(ones)[0] for m, s in one.statistics().items()}
    theirs = {m: s(ones)[0] for m, s in one.published_statistics().items()}
    assert list(ours) == list(theirs) == list(evidence.MEASURES)
    assert theirs["kappa"] == pytest.approx(ours["disagreement"] * n / (n - 1))
    assert ours["kappa"] == pytest.approx(1 - measures.fleiss_kappa(one.predictions))
    assert theirs["sd"] == pytest.approx(one.scores.std(ddof=0))
    for measure in ("disagreement", "jsd", "cka", "op", "svcca"):
        assert theirs[measure] == pytest.approx(ours[measure])
    twice = np.eye(n_runs)[[0]] * n_runs - np.eye(n_runs)[[0]] + np.eye(n_runs)[[1]]
    assert one.published_statistics()["cka"](twice) < one.statistics()["cka"](twice)


def test_agreements_of_all_groups_are_corrected_together(groups):
    some = {label: one.pairs() for label, one in list(groups.items())[:2]}
    some = {
        label: {m: pairs[m] for m in ("disagreement", "jsd", "cka")}
        for label, pairs in some.items()
    }
    table = evidence.pair_agreements(some)
    assert len(table) == 2 * 3
    for row in table.itertuples():
        found = validity.pair_agreement(some[row.group][row.a], some[row.group][row.b])
        assert (row.value, row.p) == (found.value, found.p)
    smallest = table["p"].idxmin()
    assert table.loc[smallest, "adjusted"] == pytest.approx(min(1, 6 * table.loc[smallest, "p"]))


def test_separations_are_those_of_each_part(groups):
    one = max(groups.values(), key=lambda one: min(one.failed.sum(), (~one.failed).sum()))
    table = evidence.separations(one).set_index(["measure", "layers"])
    n_layers = len(one.layers["op"])
    assert len(table) == n_layers * len(one.layers)
    found = validity.separation(one.layers["op"][-1], one.failed)
    row = table.loc["op", n_layers]
    assert (row["failed"], row["successful"]) == (found.failed, found.successful)
    assert row["value"] == found.failed - found.successful and row["p"] == found.difference.p
    whole = evidence.separations(one, np.array(["all"] * n_layers)).set_index("measure")
    assert whole.loc["op", "failed"] == pytest.approx(table.loc["op", "failed"].mean())


def test_the_last_layer_of_each_job():
    table = pd.DataFrame(
        {
            "job": ["a", "a", "a", "b", "b", "b"],
            "layer": [known.NO_LAYER, 1, 2, known.NO_LAYER, 1, 1],
            "measure": ["sd", "cka", "cka", "jsd", "op", "cka_biased"],
        }
    )
    assert evidence.top_layer(table).index.tolist() == [0, 2, 3, 4]
