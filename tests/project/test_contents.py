"""What is committed: no sentence of a data set, nothing large, figures that a notebook draws."""

import re

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from support.project import project_files

from lib import paths, plots
from lib.data import assets, tasks
from lib.errors import TaskError

BINARY = {".parquet", ".npy", ".npz", ".pdf", ".png", ".zip"}
SHINGLE = 8


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def shingles(text):
    found = words(text)
    return {tuple(found[i : i + SHINGLE]) for i in range(len(found) - SHINGLE + 1)}


def all_texts():
    """Every text of every task that can be read here, but those that were written for the course;
    no test downloads BIG-bench's 358 MB.
    """
    large = {
        name for name, task in tasks.TASKS.items()
        if task.asset.startswith("bigbench") and not assets.folder_of(task.asset).is_dir()
    }  # fmt: skip
    for name in tasks.TASKS:
        if name in ("course", "boats") or name in large:
            continue
        try:
            splits = tasks.get(name).read()
        except TaskError:
            continue
        for rows in splits.values():
            for row in rows:
                sides = (row["text_a"], row["text_b"], row.get("targets", ""))
                for side in (s if isinstance(s, list) else [s] for s in sides):
                    yield from (text for text in side if text)


@pytest.mark.slow
def test_no_sentence_of_a_data_set_is_in_any_file():
    """Any eight consecutive words of the start or end of a text would be found."""
    committed = set()
    for path in project_files():
        content = path.read_bytes()
        if path.suffix in BINARY:
            content = b"\n".join(re.findall(rb"[\x20-\x7e]{20,}", content))
        committed |= shingles(content.decode("utf-8", "replace"))
    checked = 0
    for text in all_texts():
        found = words(text)
        if len(found) >= SHINGLE:
            checked += 1
            for start in (0, len(found) - SHINGLE):
                assert tuple(found[start : start + SHINGLE]) not in committed, text[:80]
    assert checked > 40_000


def test_committed_data_figures_and_notebooks_stay_small():
    sizes = [path.stat().st_size for path in project_files("data", "figures", "notebooks")]
    assert max(sizes) <= 4 * 2**20 and sum(sizes) <= 40 * 2**20


def test_no_machine_path_in_tracked_text():
    pattern = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w+")
    for path in project_files():
        if path.suffix not in BINARY:
            assert not pattern.findall(path.read_text(encoding="utf-8")), path


def test_every_figure_has_a_notebook_its_data_and_a_description():
    figures = project_files("figures/*.svg")
    assert len(figures) >= 7
    drawing = {
        path.name[:3]
        for path in project_files("notebooks/*.ipynb")
        if "plots.save(" in path.read_text()
    }
    assert {path.name[:3] for path in project_files("figures")} <= drawing
    for figure in figures:
        alt = figure.with_suffix(".alt.txt").read_text()
        assert len(alt.split()) >= 8
        assert figure.with_suffix(".csv").exists() and figure.with_suffix(".pdf").exists()


def test_a_figure_without_description_is_refused():
    with pytest.raises(ValueError, match="describe the figure"):
        plots.save(plt.figure(), "x", alt="a plot", data=pd.DataFrame(), results="demo")


def test_a_figure_drawn_twice_has_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    plots.use_style()
    drawn = []
    for results in ("first", "second"):
        fig, ax = plt.subplots()
        ax.plot([0, 0.123456], [0, 1], "o-", label="runs")
        ax.legend()
        plots.save(fig, "31_a", alt="A line, " * 5, data=pd.DataFrame(), results=results)
        plt.close(fig)
        drawn.append({path.suffix: path.read_bytes() for path in paths.figures(results).iterdir()})
    assert len(drawn[0]) == 4 and drawn[0] == drawn[1]
