"""What is committed: no sentence of a data set, nothing large, figures that redraw to the byte."""

import os
import re
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from redrawn import Redrawn

from lib import assets, bigbench_tasks, paths, plots, tasks
from lib.errors import TaskError

BINARY = {".parquet", ".npy", ".pdf", ".png"}
SHINGLE = 8


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=paths.ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [paths.ROOT / name for name in listed if (paths.ROOT / name).is_file()]


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def shingles(text):
    found = words(text)
    return {tuple(found[i : i + SHINGLE]) for i in range(len(found) - SHINGLE + 1)}


def all_texts():
    """Every text of every task that can be read here; no test downloads BIG-bench's 358 MB."""
    large = () if assets.folder_of("bigbench").is_dir() else bigbench_tasks._SOURCES
    for name in tasks.TASKS:
        if name in large:
            continue
        try:
            splits = tasks.get(name).read()
        except TaskError:
            continue
        for rows in splits.values():
            for row in rows:
                sides = (row["text_a"], row["text_b"])
                for side in (s if isinstance(s, list) else [s] for s in sides):
                    yield from (text for text in side if text)


@pytest.mark.slow
def test_no_sentence_of_a_data_set_is_in_any_file():
    """Any eight consecutive words of the start or end of a text would be found."""
    committed = set()
    for path in tracked():
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


def test_the_text_check_would_find_one():
    text = next(text for text in all_texts() if len(words(text)) >= SHINGLE)
    assert tuple(words(text)[:SHINGLE]) in shingles(f"some prose, then {text} and more")


def test_committed_data_figures_and_notebooks_stay_small():
    folders = ("data", "figures", "notebooks")
    files = [path for path in tracked() if path.relative_to(paths.ROOT).parts[0] in folders]
    sizes = [path.stat().st_size for path in files]
    assert max(sizes) <= 4 * 2**20 and sum(sizes) <= 25 * 2**20


def test_no_machine_path_in_tracked_text():
    pattern = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w+")
    for path in tracked():
        if path.suffix not in BINARY and path.name != "test_notebooks.py":
            assert not pattern.findall(path.read_text(encoding="utf-8")), path


def test_every_figure_has_a_notebook_its_data_and_a_description():
    figures = sorted((paths.ROOT / "figures").glob("*.svg"))
    assert len(figures) >= 7
    drawing = {
        path.name[:3]
        for path in (paths.ROOT / "notebooks").glob("*.ipynb")
        if "plots.save(" in path.read_text()
    }
    assert {path.name[:3] for path in (paths.ROOT / "figures").iterdir()} <= drawing
    for figure in figures:
        alt = figure.with_suffix(".alt.txt").read_text()
        assert len(alt.split()) >= 8
        assert figure.with_suffix(".csv").exists() and figure.with_suffix(".pdf").exists()


def test_a_figure_without_description_is_refused(tmp_path):
    import matplotlib.pyplot as plt
    import pandas as pd

    with pytest.raises(ValueError, match="describe the figure"):
        plots.save(plt.figure(), "x", alt="a plot", data=pd.DataFrame(), results="demo")


def test_a_figure_that_is_not_redrawn_to_the_same_bytes_is_noticed(tmp_path):
    """What the session's plugin says of the figures after nbval has executed the notebooks."""
    for name in ("31_a.svg", "31_b.svg", "31_c.svg", "31_d.svg", "32_a.svg"):
        (tmp_path / name).write_text("drawn")
        os.utime(tmp_path / name, (0, 0))
    watched = Redrawn(tmp_path)
    watched.pytest_runtest_logreport(
        SimpleNamespace(nodeid="notebooks/31_concurrent_validity.ipynb::Cell 1", when="call")
    )
    (tmp_path / "31_a.svg").write_text("drawn")
    (tmp_path / "31_b.svg").write_text("drawn otherwise")
    (tmp_path / "31_d.svg").unlink()
    (tmp_path / "31_e.svg").write_text("drawn")
    said = [fault.split(":")[0] for fault in watched.faults()]
    assert said == ["31_b.svg", "31_c.svg", "31_e.svg", "31_d.svg"]


@pytest.mark.parametrize("measure", ["cka", "op", "svcca"])
def test_layer_curves_draw_the_values_they_are_given(measure):
    import matplotlib.pyplot as plt
    import pandas as pd

    curves = pd.DataFrame(
        {"measure": measure, "layer": [1, 0, 2], "value": [0.2, 0.1, 0.4],
         "low": [0.1, 0.0, 0.3], "high": [0.3, 0.2, 0.5]}
    )  # fmt: skip
    _, ax = plt.subplots()
    plots.layer_curves(ax, curves, measures=[measure])
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0, 0.1], [1, 0.2], [2, 0.4]])
    plt.close("all")


def test_a_strip_shows_every_run_and_counts_the_failed():
    import matplotlib.pyplot as plt
    import pandas as pd

    runs = pd.DataFrame(
        {"setting": ["a"] * 4, "score": [0.5, 0.6, 0.7, 0.8], "majority": 0.55,
         "metric": "accuracy", "status": ["collapsed", "ok", "ok", "diverged"]}
    )  # fmt: skip
    _, ax = plt.subplots()
    plots.seeds_strip(ax, runs, x="setting", order=["a"])
    points = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections[:-1]])
    assert sorted(points[:, 1].tolist()) == [0.5, 0.6, 0.7, 0.8]
    assert ax.get_xticklabels()[0].get_text() == "a\n2 of 4 failed"
    plt.close("all")
