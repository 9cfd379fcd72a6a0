"""Slides, a deck for each unit.

A notebook opens with its question and goals, and ends with what to remember and its exercises. In
between stand the cells that its author marked (``slideshow.slide_type``) or, where none is, its
figures. Prose that follows such a cell, without a mark or heading of its own, is what the speaker
says: it becomes the notes of the slide.
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
CLAIMS = re.compile(r"<!-- claims.*?/claims -->", re.S)
EXERCISE = re.compile(r"^\*\*(Exercise \d+ · \w+)\.\*\* (.+?[.?!])(?= |$)", re.M)
#: Prose that ends what is said about a slide: a heading or an exercise.
NEW = re.compile(r"#|\*\*(Exercise|Solution)")
STARTS = ("slide", "subslide")


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
    listed = "\n".join(f"- {goal}" for goal in goals.split("; "))
    question = staging.field_of(notebook, "Question")
    return slide(f"## {staging.title_of(notebook)}\n\n**{question}**\n\n{listed}", "slide")


def closing(notebook: NotebookNode) -> list[NotebookNode]:
    """What to remember, by the summary's bullets, and the titles of the exercises."""
    bullets = re.findall(r"^- .+$", CLAIMS.sub("", section(notebook, "Summary")), re.M)[:6]
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    titles = [f"- **{level}.** {title}" for level, title in EXERCISE.findall(prose)]
    parts = {"What to remember": bullets, "Exercises": titles}
    return [slide(f"### {title}\n\n" + "\n".join(part)) for title, part in parts.items() if part]


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


def body(notebook: NotebookNode) -> list[NotebookNode]:
    """The marked cells or the figures, each with the heading above it and with notes."""
    drawn = {cell.id: picture(cell, *rest) for cell, *rest in staging.figures_of(notebook)}
    own = any(kind_of(cell) in (*STARTS, "fragment") for cell in notebook.cells)
    cells: list[NotebookNode] = []
    notes: list[str] = []
    heading, said = staging.title_of(notebook), False

    def end() -> None:
        if notes:
            cells.append(slide("\n\n".join(notes), "notes"))
            notes.clear()

    for cell in notebook.cells:
        figure = cell.id in drawn and "solution" not in exercises.tags(cell)
        kind = kind_of(cell) if own else "subslide" if figure else "skip"
        prose = cell.cell_type == "markdown"
        titles = HEADING.findall(cell.source) if prose else []
        if kind in (*STARTS, "fragment", "-"):
            said = True
            if kind in STARTS:
                end()
                if not titles:
                    cells.append(slide(f"### {heading}", kind))
                    kind = "-"
            cell.metadata["slideshow"] = {"slide_type": kind}
            cell.metadata["transient"] = {"remove_source": "technical" in exercises.tags(cell)}
            cells.append(slide(drawn[cell.id], kind) if cell.id in drawn else cell)
        elif prose and kind == "notes":
            notes.append(cell.source)
        elif prose and said and not NEW.match(cell.source):
            notes += re.findall(r"\A(?:\*Figure\.\* .+?(?:\n\n|\Z))?(.+)", cell.source, re.S)
        elif prose or "technical" not in exercises.tags(cell):
            said = False
        heading = titles[-1] if titles else heading
    end()
    return cells


def deck(title: str, notebooks: list[NotebookNode]) -> NotebookNode:
    """The slides of a unit as a notebook; links within the project become their words."""
    titles = "\n".join(f"- {staging.title_of(notebook)}" for notebook in notebooks)
    cells = [slide(f"# {title}\n\n{titles}", "slide")]
    for notebook in notebooks:
        cells += [opening(notebook), *body(notebook), *closing(notebook)]
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
