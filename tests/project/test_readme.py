"""README and docs: examples run, links and anchors exist, so do commands, modules and columns."""

import dataclasses
import importlib.util
import re

import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.notebooks import JOBS, READING, prose, read

from lib import measures, paths
from lib.__main__ import COMMANDS
from lib.config import Setting, grids
from lib.data import tasks
from lib.models import pretrained
from lib.models.methods import METHODS
from lib.results import tables

README = paths.ROOT / "README.md"
DOCS = sorted((paths.ROOT / "docs").glob("*.md"))
NOTEBOOKS = READING + JOBS
PAGES = [
    README,
    *DOCS,
    *sorted(paths.DATA.glob("*/README.md")),
    *sorted((paths.ROOT / "profiles").rglob("*.md")),
]


def page(name):
    return (paths.ROOT / "docs" / f"{name}.md").read_text()


def relative(path):
    return path.relative_to(paths.ROOT).as_posix()


def anchors(path):
    """The anchors of a page's headings, as repository pages make them."""
    without_code = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    for heading in re.findall(r"^#+ +(.+)$", without_code, re.M):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        yield re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def examples():
    """Each block of Python with the block below it, which holds what it prints."""
    for path in [README, *DOCS]:
        blocks = re.findall(
            r"^```python\n(.*?)^```\n\n```\n(.*?)^```", path.read_text(), re.M | re.S
        )
        assert len(blocks) == path.read_text().count("```python"), relative(path)
        yield from (pytest.param(*block, id=relative(path)) for block in blocks)


@pytest.mark.parametrize("code, printed", examples())
def test_an_example_prints_what_stands_below_it(code, printed, capsys, monkeypatch):
    monkeypatch.chdir(paths.ROOT)
    exec(code, {})
    assert capsys.readouterr().out == printed


def test_the_claim_is_that_of_the_committed_tables():
    runs = tables.read("reference", "runs")
    gentle = runs[runs["learning_rate"] == 3e-4].groupby("task")["score"]
    points = 100 * (gentle.max() - gentle.min())
    assert sorted(points.round()) == [3, 7]
    high = runs[(runs["learning_rate"] == 3e-3) & (runs["task"] == "rotten-tomatoes")]
    learned = high[high["status"] == "ok"]
    assert 0 < len(learned) < len(high)
    assert (learned["accuracy"] - learned["majority"]).min() > 0.05
    reviews = runs[(runs["learning_rate"] == 3e-4) & (runs["task"] == "rotten-tomatoes")]
    assert round(100 * reviews["score"].std(), 1) == 1.4
    logits = tables.read("reference", "logits", reviews["group"].unique())
    predictions = (logits["logit_1"].to_numpy() > 0).astype(int).reshape(len(reviews), -1)
    disagreement = measures.instability(measures.pairwise_disagreement(predictions)).value
    assert disagreement == pytest.approx(0.1, abs=0.005)


def test_counts_of_runs_are_those_of_the_tables():
    every = pd.concat([tables.read(name, "runs") for name in tables.committed()])
    runs = every["fingerprint"].nunique()
    assert f"{runs:,} committed runs" in README.read_text()
    assert f"tables of {runs:,} runs" in page("data-card")
    again = (every["fingerprint"].value_counts() > 1).sum()
    twice = f"{len(every):,} rows of `runs`: {again} runs stand in more than one folder"
    assert twice in page("data-card")
    small = len(tables.read("reference", "runs"))
    assert f"are {small} runs of a two-layer" in page("findings")
    assert f"Beside them are {runs - small:,} runs" in page("findings")
    timed = len(pd.read_csv(paths.DATA / "benchmarks/run_times.csv"))
    assert f"seconds of {timed} of the" in (paths.DATA / "benchmarks/README.md").read_text()


def test_what_the_readme_says_of_outputs_is_so():
    """All notebooks are committed with their outputs."""
    for path in NOTEBOOKS:
        assert any(cell.get("outputs") for cell in read(path).cells), path.name


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=relative)
def test_links_lead_somewhere(path):
    text = prose(read(path)) if path in NOTEBOOKS else path.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        # Tests run where no neighbour of the checkout is: a link must stay inside of it.
        assert linked.resolve().is_relative_to(paths.ROOT), target
        if anchor:
            assert anchor in set(anchors(linked)), target


@pytest.mark.parametrize("path", [README, paths.ROOT / "docs/index.md"], ids=relative)
def test_a_front_page_describes_its_figure_as_the_figure_does(path):
    pictures = re.findall(r"!\[([^\]]*)\]\((?:\.\./)?(figures/\w+)\.svg\)", path.read_text())
    assert pictures
    for alt, name in pictures:
        assert alt == (paths.ROOT / f"{name}.alt.txt").read_text().strip()


def test_every_page_is_in_the_index_and_every_notebook_on_the_map():
    for path in DOCS:
        assert path.stem == "index" or f"({path.name})" in page("index"), path.name
    index = (paths.ROOT / "notebooks/00_index.ipynb").read_text()
    for path in NOTEBOOKS:
        assert f"({path.relative_to(paths.ROOT)})" in README.read_text()
        assert path.name in index or path.stem == "00_index"


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_every_command_and_module_exists(path):
    text = path.read_text()
    makefile = (paths.ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^)make ([a-z][a-z-]*)", text, re.M)):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for name in re.findall(r"(?:`|^)instability ([\w-]+)(?= |`|$)", text, re.M):
        assert name in COMMANDS, name
    for name in re.findall(r"python -m (lib[\w.]*)", text):
        assert importlib.util.find_spec(name), name
    for name in re.findall(r"`(lib\.\w[\w.]*)[`(]", text):
        module, _, attribute = name.rpartition(".")
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # its parent is a module, so it must be a name in it
            found = None
        assert found or hasattr(importlib.import_module(module), attribute), name


def test_the_grid_of_the_readme_is_a_whole_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        re.search(r"```yaml\n(.*?)```", README.read_text(), re.S)[1]
    )
    rows = [f"film {i} is {'good' if i % 2 else 'bad'},{i % 2}\n" for i in range(40)]
    (tmp_path / "reviews.csv").write_text("body,label\n" + "".join(rows))
    grid = grids.load_grids("mine.yaml")[0]
    assert len(grid.settings) * len(grid.seeds) == 10
    assert {tuple(setting.text_columns) for setting in grid.settings} == {("body",)}
    assert "make run CONFIG=mine.yaml" in README.read_text() and grid.has_classes


@pytest.mark.parametrize(
    "name, words",
    [
        ("tasks", tasks.TASKS),
        ("models", pretrained.BACKBONES),
        ("methods", METHODS),
        ("methods", [spec.name for spec in dataclasses.fields(Setting)]),
        ("many-runs", [path.stem for path in (paths.ROOT / "config").glob("*.yaml")]),
    ],
)
def test_a_page_names_all_that_there_is(name, words):
    assert [word for word in words if not re.search(rf"[`\[]{word}\b", page(name))] == []


def test_defaults_of_a_setting_are_those_of_the_page():
    rows = re.findall(
        r"^\| (`.+?) \| (.+?) \|", page("methods").split("## Hyperparameters")[1], re.M
    )
    shown = {}
    for names, values in rows:
        values = [value.strip("`") for value in re.split(r", (?![^\[]*\])", values)]
        shown |= dict(zip(re.findall(r"`(\w+)`", names), values, strict=True))
    for spec in dataclasses.fields(Setting):
        default = getattr(Setting(), spec.name)
        said = shown[spec.name]
        if isinstance(default, list):
            assert said == f"[{', '.join(default)}]"
        else:
            assert type(default)(said) == default, spec.name


def test_every_column_of_every_committed_table_is_on_the_data_card():
    card = page("data-card")
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", card, re.M | re.S))
    common = card.split("## Tables of the theory")[1].split("###")[0]
    for path in paths.COMMITTED.glob("reference*/**/*.parquet"):
        described = sections[path.stem] + " `group` `job`"
        if path.is_relative_to(paths.COMMITTED / "reference-theory"):
            described += common
        described += " `logit_2` `logit_3` `logit_4`" if "logit_5" in described else ""
        missing = [name for name in pq.read_schema(path).names if f"`{name}`" not in described]
        assert not missing, (path.stem, missing)
    for folder in paths.COMMITTED.glob("reference*"):
        runs = [pq.read_metadata(file).num_rows for file in folder.glob("**/runs.parquet")]
        row = re.search(rf"^\| `{folder.name}` \| (\d*) ?\|", card, re.M)
        assert int(row[1] or 0) == sum(runs), folder.name


def test_terms_of_the_glossary_are_sorted_and_occur_in_the_notebook_named():
    entries = re.findall(r"^- \*\*(.+?)\*\* \(\[\d+\]\(\.\./(.+?)\)\): \S", page("glossary"), re.M)
    assert len(entries) == sum(line.startswith("- ") for line in page("glossary").splitlines())
    terms = [term.lower() for term, _ in entries]
    assert terms == sorted(set(terms))
    for term, notebook in entries:
        text = prose(read(paths.ROOT / notebook))
        assert re.split(r"[\s,]|'s", term)[0].lower() in text.lower(), term
