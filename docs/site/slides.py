"""Slides, a deck for each unit.

Where a notebook marks cells (``slideshow.slide_type``), the deck holds these. Elsewhere it holds
the question and goals, the figures, the summary and the titles of the exercises.
"""

import html
import re
import shutil
from pathlib import Path

from nbconvert.exporters import SlidesExporter
from nbformat import NotebookNode, v4
from pygments.formatters import HtmlFormatter

from docs.site import exercises, staging
from lib import paths

FOLDER = Path(__file__).parent
NOT_SHOWN = shutil.ignore_patterns("*.pdf", "*.csv", "*.txt", "[!0-9]*")
HEADING = re.compile(r"^##+ (.+)$", re.M)


def slide(source: str, kind: str = "subslide") -> NotebookNode:
    return v4.new_markdown_cell(source, metadata={"slideshow": {"slide_type": kind}})


def kind_of(cell: NotebookNode) -> str:
    return cell.metadata.get("slideshow", {}).get("slide_type") or "skip"


def section(notebook: NotebookNode, heading: str) -> str:
    """The prose below a heading of the second level."""
    prose = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", prose, re.M | re.S)
    return found[1] if found else ""


def opening(notebook: NotebookNode) -> NotebookNode:
    goals = staging.field_of(notebook, "You will be able to")
    goals = goals or staging.field_of(notebook, "You will learn")
    listed = "\n".join(f"- {goal}" for goal in goals.split("; "))
    question = staging.field_of(notebook, "Question")
    return slide(f"## {staging.title_of(notebook)}\n\n**{question}**\n\n{listed}", "slide")


def picture(cell: NotebookNode, name: str, caption: str) -> str:
    """A figure as HTML: the committed drawing, or what the notebook shows where none was saved."""
    source = f"figures/{name}.svg"
    if not name:
        images = [
            out.data["image/png"] for out in cell.outputs if "image/png" in out.get("data", {})
        ]
        source = f"data:image/png;base64,{images[0]}"
    words = html.escape(staging.description(name, caption).replace("\n", " "))
    return f'<img src="{source}" alt="{words}">\n\n{caption}'


def figures(notebook: NotebookNode) -> list[NotebookNode]:
    """A slide for each picture: the heading above it, the picture, its caption."""
    slides = []
    for cell, name, caption in staging.figures_of(notebook):
        before = "\n".join(c.source for c in notebook.cells[: notebook.cells.index(cell)])
        headings = HEADING.findall(before) or [staging.title_of(notebook)]
        slides.append(slide(f"### {headings[-1]}\n\n{picture(cell, name, caption)}"))
    return slides


def drafted(notebook: NotebookNode) -> list[NotebookNode]:
    """The slides of a notebook whose author marked none."""
    summary = re.sub(r"<!-- claims.*?/claims -->", "", section(notebook, "Summary"), flags=re.S)
    bullets = re.findall(r"^- .+$", summary, re.M)[:6]
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    titles = re.findall(r"^\*\*(Exercise \d+ · \w+)\.\*\* (.+?[.?!])(?= |$)", prose, re.M)
    slides = [opening(notebook), *figures(notebook)]
    if bullets:
        slides.append(slide("### What to remember\n\n" + "\n".join(bullets)))
    if titles:
        listed = "\n".join(f"- **{level}.** {title}" for level, title in titles)
        slides.append(slide(f"### Exercises\n\n{listed}"))
    return slides


def marked(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells that the author marked; of code that draws or prepares, only what comes of it."""
    drawn = {cell.id: picture(cell, *rest) for cell, *rest in staging.figures_of(notebook)}
    cells = []
    for cell in notebook.cells:
        if kind_of(cell) != "skip":
            hidden = "technical" in exercises.tags(cell)
            cell.metadata["transient"] = {"remove_source": hidden}
            cells.append(slide(drawn[cell.id], kind_of(cell)) if cell.id in drawn else cell)
    return cells


def deck(title: str, notebooks: list[NotebookNode]) -> NotebookNode:
    """The slides of a unit as a notebook; links within the project become their words."""
    titles = "\n".join(f"- {staging.title_of(notebook)}" for notebook in notebooks)
    cells = [slide(f"# {title}\n\n{titles}", "slide")]
    for notebook in notebooks:
        own = any(kind_of(cell) in ("slide", "subslide") for cell in notebook.cells)
        cells += marked(notebook) if own else drafted(notebook)
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"(?<!!)\[([^]]*)\]\((?!http)[^)]*\)", r"\1", cell.source)
    return v4.new_notebook(cells=cells, metadata={"title": title})


def write(target: Path) -> list[Path]:
    """A page for each unit, with what they need beside them."""
    shutil.rmtree(target, ignore_errors=True)
    for name in ("reveal", "mathjax"):
        shutil.copytree(paths.ROOT / "docs/vendor" / name, target / "vendor" / name)
    shutil.copytree(paths.ROOT / "figures", target / "figures", ignore=NOT_SHOWN)
    style = (FOLDER / "slides/slides.css").read_text()
    (target / "slides.css").write_text(style + HtmlFormatter().get_style_defs(".highlight"))
    exporter = SlidesExporter(template_name="slides", extra_template_basedirs=[str(FOLDER)])
    written = []
    for title, members in staging.reading_path().items():
        page, _ = exporter.from_notebook_node(deck(title, [staging.read(m) for m in members]))
        written.append(target / f"unit-{members[0].name[0]}.html")
        written[-1].write_text(page)
    return written
