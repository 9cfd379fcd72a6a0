"""What figures draw where the committed ones, which the session compares, do not show it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lib.analysis import variance_components
from lib.plots import run_plots


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
    values = [float(text.get_text()) for text in ax.texts]
    assert values == pytest.approx(scores.mean(2).ravel(), abs=0.006)


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
