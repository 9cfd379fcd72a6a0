"""Published tables fit together: what two of them say of one thing is the same."""

import numpy as np
import pandas as pd
import pytest

from lib import paths


def published(name):
    return pd.read_csv(paths.PUBLISHED / f"{name}.csv")


def test_failed_and_successful_seeds_are_all_seeds_once():
    table = published("paper1_success_failed_seeds")
    seeds = table["seeds"].str.split()
    assert (seeds.str.len() == table["n"]).all()
    for _, part in table.assign(seeds=seeds).explode("seeds").groupby(["model", "task"]):
        assert sorted(part["seeds"].astype(int)) == list(range(20))


def test_sizes_shares_and_logarithms_are_those_of_their_counts():
    halves, sizes = published("paper1_test_halves"), published("glue_superglue_sizes")
    shares = halves["majority_count"] / halves["n_test_half"]
    np.testing.assert_allclose(shares, halves["majority_class_accuracy"], atol=1e-7)
    np.testing.assert_allclose(np.log10(sizes["n_train"]), sizes["log10_n_train"], atol=1e-3)


def test_the_last_layer_of_the_curves_is_that_of_the_table():
    curves = published("paper1_layers_imm").set_index(["model", "task", "imm", "measure"])["L24"]
    table = published("paper1_imm_measures").set_index(["model", "task", "imm"])
    for measure in ("cka", "op"):
        gaps = curves.xs(measure, level="measure") - table[f"I_{measure}_layer24"]
        assert gaps.count() >= 20 and gaps.abs().max() < 0.01, measure


def test_the_last_column_of_the_sibling_paper_averages_the_others():
    spread = published("fu_sibling_seed_stability").pivot(
        index="method", columns="task", values="std"
    )
    assert spread.drop(columns="AVG").mean(axis=1).to_numpy() == pytest.approx(
        spread["AVG"].to_numpy(), abs=0.006
    )
