"""Notebooks and pages as Sphinx is to read them: a copy in which all that the site adds is written.

The copy has the folders of the checkout, so links keep their meaning; whatever a page links to is
copied too. Nothing here knows the name of a notebook: the contents follow the numbers.
"""

import importlib
import os
import re
import shutil
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from docs.site import exercises
from lib import paths

ROOT = paths.ROOT
#: Parts of the reading path, by the tens of the notebooks' numbers.
UNITS = {
    "0": "Start",
    "1": "Unit 1 · Seeds move scores",
    "2": "Unit 2 · Same score, other answers",
    "3": "Unit 3 · What a few runs can say",
    "4": "Unit 4 · Where it comes from, and failures",
    "5": "Unit 5 · Inside, and which measure",
    "6": "Seminar · Validity",
    "7": "Seminar · Theory",
    "8": "Seminar · Generation",
    "9": "Figures and claims",
}
#: Modules whose functions have pages.
MODULES = ("lib.measures", "lib.theory.certificate", "lib.report")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)
#: Where no term of the glossary is looked for: code, formulas, links, headings, tables, HTML.
NO_TERM = re.compile(
    rf"{CODE.pattern}|\$\$.*?\$\$|\$[^$\n]*\$|!?\[[^\]]*\]\([^)]*\)|^[#|].*?$|<[^>]*>", re.S | re.M
)
#: A term or a link inside of a sentence, and what of it is read aloud.
ROLE = re.compile(r"(?:\{term\})?`([^`<]*?)(?: <[^>`]*>)?`")
LINK = re.compile(r"(?<=\]\()([^)\s#]*)(#[^)\s]*)?(?=\))")
SIZE = re.compile(r' width="[\d.]+pt" height="[\d.]+pt"')
ENTRY = re.compile(r"^- \*\*(.+?)\*\* \((.+?)\): (.+)$", re.M)


def outside(pattern: re.Pattern, change: Callable[[str], str], text: str) -> str:
    """The text, changed wherever the pattern does not match."""
    between, start = [], 0
    for kept in pattern.finditer(text):
        between += [change(text[start : kept.start()]), kept[0]]
        start = kept.end()
    return "".join(between) + change(text[start:])


def notebooks() -> list[Path]:
    """The reading path in order."""
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def reading_path() -> dict[str, list[Path]]:
    """Titles of the units that there are, with their notebooks."""
    units = {title: [p for p in notebooks() if p.name[0] == ten] for ten, title in UNITS.items()}
    return {title: members for title, members in units.items() if members}


def title_of(notebook: NotebookNode) -> str:
    return notebook.cells[0].source.partition("\n")[0].removeprefix("# ")


def field_of(notebook: NotebookNode, name: str) -> str:
    """A field of the header table: a value, or nothing."""
    found = re.search(rf"^\| \*\*{name}\*\* \| (.*?) \|$", notebook.cells[0].source, re.M)
    return found[1] if found else ""


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


# --- figures ------------------------------------------------------------------------------------


def has_picture(cell: NotebookNode) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def figures_of(notebook: NotebookNode) -> list[tuple[NotebookNode, str, str]]:
    """Cells with a picture, the name that it is saved by (before the next picture) and its caption
    (the paragraph after it that begins ``*Figure.*``); what is missing is empty.
    """
    found = []
    for i, cell in enumerate(notebook.cells):
        if not has_picture(cell):
            continue
        following = takewhile(lambda c: not has_picture(c), notebook.cells[i + 1 :])
        saved = [re.search(r'plots\.save\([^"]*"(\w+)"', c.source) for c in [cell, *following]]
        prose = next((c for c in notebook.cells[i + 1 :] if c.cell_type == "markdown"), None)
        caption = re.match(r"\*Figure\.\* (.+?)(?:\n\n|\Z)", prose.source, re.S) if prose else None
        name = next((match[1] for match in saved if match), "")
        found.append((cell, name, caption[1].replace("\n", " ") if caption else ""))
    return found


def description(name: str, caption: str) -> str:
    """Alternative text: that which the figure is saved with, else its caption, of which every
    figure needs one; tests refuse a picture without both.
    """
    saved = ROOT / f"figures/{name}.alt.txt"
    return saved.read_text().strip() if saved.is_file() else ROLE.sub(r"\1", caption)


def describe_figures(notebook: NotebookNode) -> None:
    """Alternative texts and captions where MyST-NB looks for them; captions leave the prose."""
    for number, (cell, name, caption) in enumerate(figures_of(notebook), 1):
        cell.metadata["mystnb"] = {"image": {"alt": description(name, caption)}}
        link = f'<a href="../figures/{name}.svg">Enlarge figure {number}</a>' if name else ""
        if caption:
            text = f"**Figure {number}.** {caption} {link}".strip()
            cell.metadata["mystnb"]["figure"] = {"caption": text}
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("*Figure.* "):
            cell.source = cell.source.partition("\n\n")[2]


def gallery() -> str:
    """Every saved figure, small, with its caption, its notebook and its numbers; by unit."""
    parts = ["# Gallery", "Every figure, with its caption. A click enlarges it."]
    for unit, members in reading_path().items():
        cards = []
        for path in members:
            for _, name, caption in figures_of(read(path)):
                file, page = f"figures/{name}", f"notebooks/{path.stem}"
                words = description(name, caption).replace("\n", " ")
                image = f"```{{image}} {file}.svg\n:alt: {words}\n```"
                text = f"[Notebook {path.name[:2]}]({page}.ipynb). "
                text += caption.replace("](", "](notebooks/")
                text += f" [Numbers]({file}.csv), [PDF]({file}.pdf)"
                if name:
                    cards.append(f":::{{grid-item}}\n{image}\n{text}\n:::")
        if cards:
            grid = ["::::{grid} 1 2 3 3", ":class-container: gallery", "", *cards, "::::"]
            parts += [f"## {unit}", "\n".join(grid)]
    return "\n\n".join(parts) + "\n"


# --- the glossary -------------------------------------------------------------------------------


def glossary_terms(page: str) -> list[str]:
    return [term for entry in ENTRY.findall(page) for term in entry[0].split(", ")]


def glossary_page(page: str) -> str:
    """The glossary's list as a directive, whose terms can be pointed to, below their initials."""
    initials = {term[0].upper(): term for term in reversed(glossary_terms(page))}
    line = " · ".join(f"{{term}}`{i} <{term}>`" for i, term in sorted(initials.items()))
    terms = [
        term.replace(", ", "\n") + f"\n  {text} ({where})"
        for term, where, text in ENTRY.findall(page)
    ]
    start = page[: page.index("\n- **")]
    return f"{start}\n{line}\n\n:::{{glossary}}\n" + "\n\n".join(terms) + "\n:::\n"


def mark_terms(notebook: NotebookNode, terms: list[str]) -> None:
    """Point from the first use of each term in the notebook's prose to the glossary.

    Short everyday words, such as rest or gate, count as terms only where they are bold.
    """
    names = {term: term for term in terms} | {term[0].upper() + term[1:]: term for term in terms}
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])({words})(s?)(?![\w-])")
    used = set()

    def mark(match: re.Match) -> str:
        term = names[match[1]]
        short = len(term) < 5 and term.islower() and match.string[: match.start()][-2:] != "**"
        if term in used or short:
            return match[0]
        used.add(term)
        return f"{{term}}`{match[0]} <{term}>`"

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = outside(NO_TERM, lambda text: pattern.sub(mark, text), cell.source)


# --- functions ----------------------------------------------------------------------------------


def public_names(module: str) -> list[str]:
    """Functions of a module that were defined in it or in its folder, then such classes."""
    things = vars(importlib.import_module(module)).items()
    public = {name: thing for name, thing in things if name[0] != "_"}
    own = [n for n, thing in public.items() if getattr(thing, "__module__", "").startswith(module)]
    return sorted(own, key=lambda name: (isinstance(public[name], type), name))


def api() -> str:
    """A page of the functions that other code may call; autosummary writes a page for each."""
    text = "Functions\n=========\n\nWhat your own code may call.\n"
    for module in MODULES:
        names = "\n   ".join(public_names(module))
        text += f"\n{module}\n{'-' * len(module)}\n\n.. currentmodule:: {module}\n"
        text += f".. autosummary::\n   :toctree: api\n\n   {names}\n"
    return text


# --- the copy -----------------------------------------------------------------------------------


def place(path: Path) -> Path:
    """Where a file or folder of the checkout stands in the copy."""
    special = {"docs/index.md": "index.md", "figures": "gallery.md"}
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir() and name not in special:
        name += "/README.md" if (path / "README.md").exists() else "/files.md"
    return Path(special.get(name, name))


def contents() -> str:
    """The units as a reader sees them: each notebook with its question and study time."""
    lines = []
    for title, members in reading_path().items():
        lines.append(f"### {title}\n")
        for path in members:
            notebook = read(path)
            time = field_of(notebook, "Study time").partition(";")[0]
            question = field_of(notebook, "Question") + (f" *({time})*" if time else "")
            lines.append(f"- [{title_of(notebook)}](../notebooks/{path.name}). {question}")
        lines.append("")
    return "## The course\n\n" + "\n".join(lines)


def trees(known: list[Path], jobs: list[Path]) -> dict[str, list[str]]:
    """Captions of the side bar, with the pages below them."""
    manual = re.findall(r"\((\w[\w-]*\.md)\)", (ROOT / "docs/index.md").read_text())
    reference = ["docs/findings.md", "docs/glossary.md", "gallery.md", "api.rst"]
    pages = [place(path).as_posix() for path in known]
    made = {
        title: [place(p).as_posix() for p in members] for title, members in reading_path().items()
    }
    made["Manual"] = ["README.md", *dict.fromkeys(f"docs/{name}" for name in manual)]
    made["Manual"] = [page for page in made["Manual"] if page not in reference]
    made["Reference"] = reference
    made["Appendix · Batch jobs"] = [place(path).as_posix() for path in jobs]
    placed = {"index.md", *(page for members in made.values() for page in members)}
    other = {page for page in pages if page.endswith((".md", ".ipynb"))}
    made["Appendix · Tables and data"] = sorted(other - placed)
    return made


def toctree(caption: str, pages: list[str]) -> str:
    return f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"


def stage(target: Path) -> None:
    """Write the copy: notebooks, pages, and in turn whatever they link to."""
    shutil.rmtree(target, ignore_errors=True)
    jobs, manual = sorted((ROOT / "notebooks/jobs").glob("*.ipynb")), (ROOT / "docs").glob("*.md")
    terms = glossary_terms((ROOT / "docs/glossary.md").read_text())
    waiting = [*notebooks(), *jobs, *sorted(manual), ROOT / "README.md", ROOT / "figures"]
    known = list(waiting)

    def follow(text: str, page: Path) -> str:
        """Links as they are in the copy; what they lead to is copied after this page."""

        def moved(match: re.Match) -> str:
            if not match[1] or ":" in match[1]:
                return match[0]
            linked = Path(os.path.normpath(page.parent / match[1]))
            if not linked.exists():
                raise SystemExit(f"{page.relative_to(ROOT)}: there is no {match[1]}")
            if linked not in known:
                known.append(linked)
                waiting.append(linked)
            return os.path.relpath(place(linked), place(page).parent) + (match[2] or "")

        return outside(CODE, lambda part: LINK.sub(moved, part), text)

    while waiting:
        path = waiting.pop(0)
        output = target / place(path)
        output.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".ipynb":
            notebook = read(path)
            if path not in jobs:
                mark_terms(notebook, terms)
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    cell.source = follow(cell.source, path)
                    continue
                for shown in cell.outputs:
                    if "text" in shown:
                        # Of what was executed while it was edited, the commit before it is shown.
                        shown.text = shown.text.replace(" + uncommitted changes", "")
                if "technical" in exercises.tags(cell):
                    # What a cell draws belongs to the story; only its code is folded.
                    cell.metadata.tags.append("hide-input" if has_picture(cell) else "hide-cell")
                    if "provenance.colophon(" in cell.source:
                        exercises.name_fold(cell, "How this was computed")
            describe_figures(notebook)
            nbformat.write(exercises.for_site(notebook), output)
        elif path == ROOT / "figures":
            output.write_text(gallery())
        elif path.is_dir() and output.name == "files.md":
            files = sorted(file for file in path.iterdir() if file.is_file())
            lines = [f"# {path.relative_to(ROOT)}/", *(f"- [{f.name}]({f.name})" for f in files)]
            output.write_text(follow("\n".join(lines), path / "files.md"))
        elif path.suffix == ".md" or path.is_dir():
            file = path / "README.md" if path.is_dir() else path
            text = file.read_text().replace("<!-- units -->\n", contents())
            text = glossary_page(text) if path.name == "glossary.md" else text
            output.write_text(follow(text, file))
        else:
            shutil.copy2(path, output)
    for folder in ("figures", "extra/figures"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    for path in (ROOT / "figures").glob("*.*"):
        shutil.copy2(path, target / "figures" / path.name)
        if path.suffix == ".svg":  # opened alone it is larger than in the page
            drawing = SIZE.sub(' width="1200" style="height: auto"', path.read_text(), count=1)
            (target / "extra/figures" / path.name).write_text(drawing)
    (target / "api.rst").write_text(api())
    with (target / "index.md").open("a") as file:
        file.write("\n" + "\n".join(toctree(*tree) for tree in trees(known, jobs).items()))
