"""Figures about measures draw what their tables hold."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.plots import validity_plots


@pytest.fixture
def ax():
    _, ax = plt.subplots()
    yield ax
    plt.close("all")


def points(line):
    return dict(zip(list(line.get_xdata()), list(line.get_ydata()), strict=True))


def test_failed_runs_are_dashed_and_hollow(ax):
    table = pd.DataFrame(
        {
            "measure": ["cka", "cka", "op", "op"],
            "layer": [1, 2, 1, 2],
            "failed": [0.8, 0.9, 0.6, 0.7],
            "successful": [0.2, 0.3, 0.1, 0.15],
        }
    )
    validity_plots.kinds_of_runs(ax, table)
    solid = {line.get_label(): points(line) for line in ax.lines if line.get_linestyle() == "-"}
    assert solid == {"CKA": {1: 0.2, 2: 0.3}, "OP": {1: 0.1, 2: 0.15}, "successful runs": {}}
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert [points(line) for line in dashed] == [{1: 0.8, 2: 0.9}, {1: 0.6, 2: 0.7}, {}]
    assert {line.get_markerfacecolor() for line in dashed} == {"white"}


def test_each_method_has_its_curve_and_band(ax):
    table = pd.DataFrame(
        {"method": ["llrd", "llrd", "mixout", "mixout"], "layer": [1, 2, 1, 2],
         "value": [0.1, 0.2, 0.3, 0.4], "low": [0.0, 0.1, 0.2, 0.3], "high": [0.2, 0.4, 0.5, 0.6]}
    )  # fmt: skip
    validity_plots.method_curves(ax, table)
    drawn = {line.get_label(): points(line) for line in ax.lines}
    assert drawn == {"llrd": {1: 0.1, 2: 0.2}, "mixout": {1: 0.3, 2: 0.4}}
    ends = [band.get_paths()[0].get_extents() for band in ax.collections]
    np.testing.assert_allclose([(end.ymin, end.ymax) for end in ends], [(0.0, 0.4), (0.2, 0.6)])


def test_differences_of_kinds_have_their_intervals(ax):
    table = pd.DataFrame(
        {"measure": ["cka", "op"], "layer": [1, 1], "value": [0.2, -0.1], "low": [0.1, -0.3],
         "high": [0.4, 0.0]}
    )  # fmt: skip
    validity_plots.kind_differences(ax, table)
    drawn = [bars.lines[2][0].get_segments()[0] for bars in ax.containers]
    np.testing.assert_allclose([bar[:, 1] for bar in drawn], [[0.1, 0.4], [-0.3, 0.0]])
    assert drawn[0][0, 0] < 1 < drawn[1][0, 0], "the measures stand beside each other"


def test_doses_are_relative_to_the_largest_and_none_is_zero(ax):
    table = pd.DataFrame({"cka": [0.0, 0.1, 0.4], "sd": [0.0, 0.03, 0.02]}, index=[0.0, 0.1, 0.2])
    validity_plots.dose_curves(ax, table)
    assert [line.get_label() for line in ax.lines] == ["CKA", "SD"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.25, 1])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [1.5, 1])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.1", "0.2"]
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_a_marker_is_as_large_as_the_support_of_its_rank(ax):
    ranks = pd.DataFrame({"sd": [1, 2], "cka": [2, 1]}, index=["standard", "reinit"])
    support = pd.DataFrame({"sd": [1.0, 0.5], "cka": [0.25, 0.75]}, index=ranks.index)
    validity_plots.bump_chart(ax, ranks, support)
    assert [list(line.get_ydata()) for line in ax.lines] == [[1, 2], [2, 1]]
    methods, key = ax.collections[:2], ax.collections[2:]
    areas = np.array([dots.get_sizes() for dots in methods])
    assert (np.argsort(areas.ravel()) == np.argsort(support.to_numpy().ravel())).all()
    assert key[-1].get_sizes() == areas.max() and key[-1].get_label() == "support 100%"
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "rank 1 is on top"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["SD", "CKA"]


def test_parts_are_relative_to_all_examples_and_the_smallest_is_hollow(ax):
    table = pd.DataFrame(
        {
            "measure": ["op", "op", "sd"],
            "fraction": [0.1, 0.5, 0.1],
            "value": [0.1, 0.3, 0.02],
            "full": [0.4, 0.4, 0.01],
        }
    )
    validity_plots.part_values(ax, table)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["SD", "OP"]
    drawn = [(list(line.get_ydata()), line.get_markerfacecolor()) for line in ax.lines]
    assert ([2.0], "white") in drawn and ([0.25], "white") in drawn
    (filled,) = [values for values, face in drawn if face != "white" and len(values) == 1]
    assert filled == pytest.approx([0.75])
    _, names = ax.get_legend_handles_labels()
    faces = {line.get_label(): line.get_markerfacecolor() for line in ax.lines}
    key = {name: faces[name] for name in names}
    assert key == {"10% of them": "white", "50% of them": validity_plots.INK}


def test_correlations_of_procedures_share_a_line(ax):
    index = ["a ~ b", "a ~ c"]
    tables = {
        name: pd.DataFrame({"value": [shift, 0.2], "low": [-0.1, 0], "high": [0.9, 0.4]}, index)
        for name, shift in {"published": 0.8, "corrected": 0.1}.items()
    }
    validity_plots.correlation_dots(ax, tables)
    assert [text.get_text() for text in ax.get_yticklabels()] == index
    values = {line.get_label(): line.get_xdata().tolist() for line in ax.lines[:2]}
    assert values == {"published": [0.8, 0.2], "corrected": [0.1, 0.2]}
    assert ax.lines[0].get_ydata()[0] > ax.lines[1].get_ydata()[0] > ax.lines[0].get_ydata()[1]


def test_every_best_seed_of_a_task_is_starred(ax):
    table = pd.DataFrame([[0.0, 1.0, 0.5], [1.0, 0.2, 1.0]], ["t", "u"], [42, 52, 62])
    validity_plots.seeds_heatmap(ax, table, label="ζ")
    stars = {(x, y) for line in ax.lines for x, y in points(line).items()}
    assert stars == {(1.5, 0.5), (0.5, 1.5), (2.5, 1.5)}


def test_curves_over_layers_and_sizes(ax):
    table = pd.DataFrame(
        {"pair": ["x", "x"], "layer": [1, 2], "value": [0.5, 0.6], "low": [0, 0], "high": [1, 1]}
    )
    validity_plots.correlation_curves(ax, table)
    assert ax.lines[0].get_label() == "x" and points(ax.lines[0]) == {1: 0.5, 2: 0.6}
    _, other = plt.subplots()
    sizes = pd.DataFrame({"value": [3.0, 2.0], "low": [2, 1.5], "high": [5, 2.1]}, [100, 1000])
    validity_plots.size_trend(other, sizes, label="one task")
    bars = other.containers[0].lines[2][0].get_segments()
    assert [segment[:, 1].tolist() for segment in bars] == [[2, 5], [1.5, 2.1]]
    assert other.get_xscale() == "log"
