"""The analysis notebooks on results of another kind than the reference, as a user's grid makes, and
with the parameters that they ask to try.
"""

import ast
import json
import re

import pytest
from support.invented_runs import make_run
from support.notebooks import READING, parameters_cell, prose, read
from support.project import run_python

from lib import paths
from lib.config import Setting
from lib.results import group_tables, tables
from lib.workflow import jobs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(r"ignore:run \d, layer:UserWarning"),
]

NOTEBOOKS = ["00_index", *jobs.ANALYSES]


def write(name, *made):
    for group in made:
        frames = group_tables.tables_of(group)
        folder = group[0].record["setting_id"]
        tables.save_tables(name, folder, frames, group_tables.sample_vectors(group))


def group(task, statuses=("ok",) * 3, learning_rate=2e-5, **how):
    """Invented runs of those statuses, as of a setting."""
    setting = Setting(task=task, learning_rate=learning_rate)
    how |= {"setting": setting, "setting_id": setting.id, "n": 40}
    return [make_run(seed, status=status, **how) for seed, status in enumerate(statuses)]


def one_setting():
    return [group("nyt")]


def many_settings():
    return [group("nyt", learning_rate=1e-5 * 2**i) for i in range(8)]


def one_ladder():
    """From no failed run to failures only, with diverged runs among them."""
    ok, collapsed = "ok", "collapsed"
    return [
        group("nyt", [ok] * 5, 1e-4),
        group("nyt", [ok, collapsed, ok, collapsed, ok], 3e-4),
        group("nyt", [collapsed, collapsed, ok, ok, "diverged"], 1e-3),
    ]


def mixed():
    """Regression, F1, MCC, three classes, a diverged run, two depths: all in one configuration."""
    return [
        group("stsb", metric="pearson", n_classes=1),
        group("mrpc", metric="f1"),
        group("cola", metric="mcc", n_layers=7),
        group("nyt", metric="macro-f1", n_classes=3),
        group("amazon"),
        group("boolq", ("ok", "diverged", "ok")),
    ]


def run_notebooks(parameters, names, output):
    done = run_python(
        str(paths.ROOT / "tests/support/execute_notebooks.py"), json.dumps(parameters),
        *(str(paths.ROOT / f"notebooks/{name}.ipynb") for name in names),
        COMPENDIUM_OUTPUT=str(output),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]


@pytest.mark.parametrize(
    "kind", [one_setting, many_settings, one_ladder, mixed], ids=lambda kind: kind.__name__
)
def test_every_analysis_runs(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    write(kind.__name__, *kind())
    run_notebooks({"results": kind.__name__}, NOTEBOOKS, tmp_path)
    figures = tmp_path / "figures" / kind.__name__
    wanted = {figure for figure, _ in jobs.ANALYSES.values()} - {"40_components", "41_ladder"}
    assert wanted <= {path.stem for path in figures.glob("*.svg")}
    # What the results have nothing of is drawn from the reference, among its figures; what they
    # have must not be, also where the reference stands in for runs that failed.
    stray = {path.stem[:2] for path in figures.parent.glob("*.svg")}
    has_ladder = kind in (one_ladder, many_settings)
    assert stray == ({"40"} if has_ladder else {"40", "41"})
    assert (figures / "41_remedies.svg").exists() == has_ladder


def suggested():
    """Each `name = value` of a parameter under Try it, of the notebooks that do not train."""
    for path in READING:
        notebook = read(path)
        text = re.split(r"^## ", prose(notebook).split("\n## Try it\n")[1], flags=re.M)[0]
        known = re.findall(r"^(\w+):", parameters_cell(notebook).source, re.M)
        for name, value in re.findall(r"`(\w+) = ([^`]+)`", text):
            if name in known and value != '"quick"':
                yield pytest.param(path.stem, name, value, id=f"{path.stem[:2]}, {name} = {value}")


@pytest.mark.parametrize(("notebook", "name", "value"), list(suggested()))
def test_what_a_notebook_asks_to_try_runs(notebook, name, value, tmp_path):
    run_notebooks({name: ast.literal_eval(value)}, [notebook], tmp_path)
