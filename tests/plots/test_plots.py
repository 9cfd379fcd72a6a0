"""What figures draw where the committed ones, which the session compares, do not show it."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib import plots
from lib.analysis import variance_components
from lib.analysis.claims import stability
from lib.plots import bound_plots, run_plots


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    yield ax
    plt.close("all")


def test_the_heat_map_marks_every_failed_cell(ax):
    status = np.full((2, 3, 2), "ok", object)
    status[0, 2, 1], status[1, 0] = "diverged", "collapsed"
    seeds = {"init_seeds": (4, 9), "order_seeds": (0, 1, 2)}
    scores = np.random.default_rng(0).normal(size=(2, 3, 2))
    run_plots.seed_heatmap(ax, scores, status, label="accuracy", **seeds)
    marked = {(int(x), int(y)): m.get_marker() for m in ax.lines for x, y in m.get_xydata()}
    assert marked == {(2, 0): "s", (0, 1): "X"}
    assert [t.get_text() for t in ax.get_yticklabels()] == ["4", "9"]
    drawn = ax.collections[0].get_array().ravel()
    np.testing.assert_allclose(drawn, scores.mean(2).ravel())


def test_intervals_beyond_the_frame_end_in_an_arrow(ax):
    table = variance_components.variance_components(np.random.default_rng(0).normal(size=(3, 3)))
    table.loc["init", ["share", "share_low", "share_high"]] = [0.5, -2, 0.9]
    run_plots.component_intervals(ax, {"a": table})
    lines = [
        line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_color() != "#bbbbbb"
    ]
    np.testing.assert_allclose(lines[0].get_xdata(), [-0.25, 0.9])
    assert "<" in [line.get_marker() for line in ax.lines]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["rest", "order seed", "init seed"]


def test_the_heat_map_of_runs_without_names_is_one_image(ax):
    matrix = np.arange(16.0).reshape(4, 4)
    plots.run_heatmap(ax, matrix, names=None, label="share")
    (image,) = ax.images
    assert np.isnan(np.diag(image.get_array().filled(np.nan))).all()
    assert image.get_array()[1, 2] == 6 and not ax.collections and not len(ax.get_xticks())


def test_a_cell_of_claims_shows_the_middle_the_reach_and_how_many_hold():
    where = {"claim": "SURT", "setting": "network", "perturbation": stability.SEED}
    table = pd.DataFrame(
        {"value": [-9.0, -1.0, 0.5], "verdict": ["holds", "holds", "undecided"]}
    ).assign(**where)
    cells = pd.DataFrame(
        itertools.product(stability.STABILISERS, stability.SETTINGS, stability.PERTURBATIONS),
        columns=list(where),
    ).assign(verdict="no data", value=np.nan, low=np.nan, high=np.nan, holds=0, of=0)
    own = (cells[list(where)] == list(where.values())).all(axis=1)
    cells.loc[own, ["verdict", "value", "low", "high", "holds", "of"]] = [
        ["undecided", -1.0, -2.0, -0.1, 2, 3]
    ]
    _, axes = plt.subplots(1, 3)
    bound_plots.claim_cells(axes, cells, table)
    *others, last = axes
    texts = [text.get_text() for text in last.texts]
    assert texts.count("no data") == len(texts) - 1 and "2 of 3" in texts
    assert len(texts) == 2 * len(stability.STABILISERS) == len(others[0].texts)
    shown = {
        line.get_color(): list(line.get_xdata()) for line in last.lines if line.get_zorder() == 1
    }
    assert shown == {plots.PALE: [-3, 0.5]}  # what is beyond is at the edge
    drawn = {tuple(line.get_ydata()): list(line.get_xdata()) for line in last.lines}
    assert drawn[0, 0] == [-2.0, -0.1]  # SURT and the seed are the last line
    labels = [label.get_text() for label in last.get_yticklabels()]
    assert labels[:2] == [stability.SEED, f"SURT: {stability.LEFT_OUT}"]
    plt.close("all")
