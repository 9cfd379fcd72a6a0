"""What Sphinx and the slides are made from: links, contents, descriptions, terms, vendor."""

import hashlib
import os
import re
import tomllib

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from support.notebooks import JOBS, READING, prose, read

from docs.site import exercises, slides, staging
from lib import paths


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    target = tmp_path_factory.mktemp("site") / "source"
    staging.stage(target)
    return target


def test_every_link_leads_to_a_file_of_the_copy(copy):
    pages = [*copy.rglob("*.md"), *copy.rglob("*.ipynb")]
    assert len(pages) > len(READING) + len(JOBS)
    for page in pages:
        text = prose(read(page)) if page.suffix == ".ipynb" else page.read_text()
        for target, _ in staging.LINK.findall(staging.outside(staging.CODE, str, text)):
            assert not target or ":" in target or (page.parent / target).is_file(), (page, target)


def test_every_page_is_in_the_contents_once_and_notebooks_are_in_order(copy):
    text = (copy / "index.md").read_text()
    listed = re.findall(r"^[\w/.-]+\.(?:md|ipynb|rst)$", text, re.M)
    pages = [p for p in copy.rglob("*") if p.suffix in (".md", ".ipynb") and p.stem != "index"]
    assert len(listed) == len(set(listed))
    assert set(listed) == {p.relative_to(copy).as_posix() for p in pages} | {"api.rst"}
    path = [f"notebooks/{path.name}" for path in READING]
    assert [page for page in listed if page in path] == path


def test_every_picture_is_described_and_shown_in_the_gallery(copy):
    gallery = (copy / "gallery.md").read_text()
    for svg in (paths.ROOT / "figures").glob("*.svg"):
        words = svg.with_suffix(".alt.txt").read_text().strip()
        assert f"figures/{svg.name}\n:alt: {words}\n" in gallery
        alone = (copy / f"extra/figures/{svg.name}").read_text()
        assert ' width="1200" style="height: auto" viewBox' in alone
    for path in READING:
        for cell in read(copy / "notebooks" / path.name).cells:
            if staging.has_picture(cell):
                alt, tags = cell.metadata.mystnb.image.alt, exercises.tags(cell)
                assert "{term}" not in alt and "`" not in alt, path.name
                assert "hide-cell" not in tags or "solution" in tags, (path.name, cell.source)
            shown = "".join(output.get("text", "") for output in cell.get("outputs", []))
            assert "uncommitted" not in shown, path.name


def test_every_picture_has_a_caption():
    """A paragraph after it that begins ``*Figure.*``; it is the alternative text, too, of what no
    cell saves with one.
    """
    missing = [
        (path.name, cell.source)
        for path in READING
        for cell, _, caption in staging.figures_of(read(path))
        if not caption
    ]
    assert missing == []


def test_a_figure_takes_its_description_and_the_paragraph_after_it():
    image = new_output("display_data", data={"image/png": "AAAA"})
    name = next((paths.ROOT / "figures").glob("*.svg")).stem
    notebook = new_notebook(
        cells=[
            new_code_cell("plt.show()", outputs=[image]),
            new_code_cell(f'plots.save(fig, "{name}", alt=alt)'),
            new_markdown_cell("*Figure.* Five runs, with\nintervals.\n\nThey differ."),
        ]
    )
    staging.describe_figures(notebook)
    shown = notebook.cells[0].metadata.mystnb
    assert shown.image.alt == (paths.ROOT / f"figures/{name}.alt.txt").read_text().strip()
    assert shown.figure.caption.startswith("**Figure 1.** Five runs, with intervals. <a")
    assert notebook.cells[2].source == "They differ."


def test_the_first_use_of_a_term_points_to_the_glossary():
    text = "# A seed\n\nSeeds of `a seed`, [a seed](x.md), $seed$: **seed**, runs. Reruns, dose."
    notebook = new_notebook(cells=[new_markdown_cell(text), new_markdown_cell("Run a run.")])
    staging.mark_terms(notebook, ["seed", "dose", "runs"])
    marked = "# A seed\n\nSeeds of `a seed`, [a seed](x.md), $seed$: **{term}`seed <seed>`**, "
    assert notebook.cells[0].source == marked + "runs. Reruns, dose."
    staging.mark_terms(notebook, ["Run a", "Run a run"])
    assert notebook.cells[1].source == "{term}`Run a run <Run a run>`."


def test_the_glossary_begins_with_its_initials():
    page = "# Words\n\n- **SD** ([1](1.md)): a.\n- **score, seed** ([1](1.md)): b.\n"
    page = staging.glossary_page(page + "- **CKA** ([1](1.md)): c.\n")
    assert "\n{term}`C <CKA>` · {term}`S <SD>`\n\n:::{glossary}\nSD\n" in page


def test_vendored_files_are_those_that_were_hashed():
    vendor = paths.ROOT / "docs/vendor"
    packages = tomllib.loads((vendor / "vendor.toml").read_text())
    for name, package in packages.items():
        folder = vendor / name
        found = {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }
        assert found == package["files"]
        assert any(file.startswith("LICENSE") for file in found)
    assert {path.name for path in vendor.iterdir()} == {*packages, "vendor.toml"}


def test_slides_load_what_lies_beside_them(tmp_path):
    for page in slides.write(tmp_path):
        html = page.read_text()
        loaded = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="(?!data:)([^"]+)"', html)
        assert loaded and all(os.path.exists(tmp_path / name) for name in loaded), page.name
        assert re.findall(r"<img(?![^>]* alt=\"[^\"]+\")", html) == []


IMAGE = new_output("display_data", data={"image/png": "AAAA"})
HEADER = "# 11 · A\n\n| | |\n|---|---|\n| **Question** | Why? |\n| **You will be able to** | a; b |"
STORY = (
    (new_markdown_cell, HEADER),
    (new_markdown_cell, "## Runs"), (new_markdown_cell, "Said before."),
    (new_code_cell, "plot()"), (new_code_cell, "save()"),
    (new_markdown_cell, "*Figure.* Runs.\n\nLook [left](12.ipynb)."),
    (new_markdown_cell, "Then up."),
    (new_code_cell, "x = 1"), (new_markdown_cell, "Prose of its own."),
    (new_markdown_cell, "## Summary\n\n- Seeds\n- Runs"),
    (new_markdown_cell, "**Exercise 1 · basic.** Count. Call it `n`."),
    (new_code_cell, "# Solution\nn = 1"),
)  # fmt: skip


def story(**kinds):
    """A small notebook of two pictures, one of which is a solution, with marks by number."""
    cells = [make(source) for make, source in STORY]
    cells[4].metadata.tags = ["technical"]
    cells[3].outputs, cells[11].outputs = [IMAGE], [IMAGE]
    cells[11].metadata.tags = ["solution"]
    for number, kind in kinds.items():
        cells[int(number[1:])].metadata.slideshow = {"slide_type": kind}
    return new_notebook(cells=cells)


def shown(*notebooks):
    """Kind and source of what a deck holds behind its title, pictures shortened."""
    cells = slides.deck("Unit 1", list(notebooks)).cells[1:]
    return [(slides.kind_of(c), re.sub(r"<img [^>]*>", "<img>", c.source)) for c in cells]


START = ("slide", "## 11 · A\n\n**Why?**\n\n- a\n- b")
END = [
    ("subslide", "### What to remember\n\n- Seeds\n- Runs"),
    ("subslide", "### Exercises\n\n- **Exercise 1 · basic.** Count."),
]


def test_slides_without_marks_are_figures_between_question_and_summary():
    figure = [("subslide", "### Runs"), ("-", "<img>\n\nRuns.")]
    assert shown(story()) == [START, *figure, ("notes", "Look left.\n\nThen up."), *END]


def test_slides_are_what_an_author_marks_and_the_prose_behind_is_what_is_said():
    made = shown(story(c2="slide", c3="fragment", c7="subslide", c10="subslide"))
    assert made == [
        START, ("slide", "### Runs"), ("-", "Said before."), ("fragment", "<img>\n\nRuns."),
        ("notes", "Look left.\n\nThen up."), ("subslide", "### Runs"), ("-", "x = 1"),
        ("notes", "Prose of its own."), ("subslide", "### Summary"),
        ("-", "**Exercise 1 · basic.** Count. Call it `n`."), *END,
    ]  # fmt: skip
    (title, said) = shown(story(c1="slide"))[1:3]
    assert (title, said) == (("slide", "## Runs"), ("notes", "Said before."))
    marked = story(c4="slide")
    assert [c.source for c in slides.body(marked)][1] == "save()"
    assert marked.cells[4].metadata.transient.remove_source
