"""The README: its example runs, its links lead somewhere, its commands exist."""

import re

import numpy as np
import pytest

from lib import measures, paths

TEXT = (paths.ROOT / "README.md").read_text()


def test_the_example_runs_and_is_six_lines_long(capsys):
    code = re.search(r"```python\n(.*?)```", TEXT, re.S)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 6 + 1
    scope = {}
    exec(code, scope)
    assert "Interval(value=" in capsys.readouterr().out
    found = measures.instability(measures.pairwise_disagreement(scope["predictions"]))
    said = scope["predictions"]
    apart = [np.mean(said[i] != said[j]) for i in range(len(said)) for j in range(i)]
    assert found.value == pytest.approx(np.mean(apart)) and 0 < found.low < found.high < 1


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if not target.startswith("http"):
            assert (paths.ROOT / target).exists(), target


def test_every_notebook_is_on_the_map():
    for path in (paths.ROOT / "notebooks").glob("*.ipynb"):
        assert f"notebooks/{path.name}" in TEXT
        index = (paths.ROOT / "notebooks/00_index.ipynb").read_text()
        assert path.name in index or path.stem == "00_index"


def test_every_make_target_of_the_readme_exists():
    makefile = (paths.ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^)make ([a-z-]+)", TEXT, re.M)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_ci_runs_what_the_readme_says():
    assert "make test" in (paths.ROOT / ".ci/run").read_text() and "make test" in TEXT
