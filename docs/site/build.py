"""What `make site`, `make student` and `make slides` write, each into its folder in build/."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from docs.site import exercises, slides, staging
from lib import paths

BUILD = paths.OUTPUT / "build"
HERE = Path(__file__).parent
#: What the notebooks of a student need beside them, and what of it stays behind.
COPIED = ("lib", "data", "config", "docs", "figures", "benchmarks", "notebooks/jobs", "profiles")
COPIED += ("Makefile", "Snakefile")
COPIED += ("pyproject.toml", "setup.py", "requirements.txt", "constraints.txt", "README.md")
COPIED += ("LICENSE", "LICENSE-TEXT", "CITATION.cff", "OWNER.md")
LEFT = shutil.ignore_patterns(
    "__pycache__", ".*", "raw", "runs", "site", "vendor", "*.pdf", "teaching.md"
)


def site() -> None:
    """The pages, from notebooks as they are committed. Any warning is an error."""
    source, pages = BUILD / "site/source", BUILD / "site/html"
    staging.stage(source)
    shutil.rmtree(pages, ignore_errors=True)
    # -E -a: built anew, since pages that are kept lose their tips.
    options = ["-q", "-E", "-a", "-W", "--keep-going", "-b", "html", "-c", str(HERE)]
    subprocess.run([sys.executable, "-m", "sphinx", *options, source, pages], check=True)
    count = len(list(pages.rglob("*.html"))) - len(list(pages.glob("_static/*.html")))
    print(f"{pages / 'index.html'}: {count} pages")


def student() -> None:
    """A folder to hand out: notebooks without solutions and outputs, and what they need."""
    target = BUILD / "student"
    shutil.rmtree(target, ignore_errors=True)
    for name in COPIED:
        path = paths.ROOT / name
        if path.is_dir():
            shutil.copytree(path, target / name, ignore=LEFT)
        else:
            shutil.copy2(path, target / name)
    for path in (target / "data/results").iterdir():
        if path.is_dir() and not paths.is_reference(path.name):
            shutil.rmtree(path)
    shutil.copy2(HERE / "student.md", target / "START.md")
    for path in staging.notebooks():
        notebook = exercises.for_students(staging.read(path))
        nbformat.write(notebook, target / "notebooks" / path.name)
    print(f"{target}: begin with START.md")


def decks() -> None:
    """Slides of each unit, to be opened in a browser."""
    print(*slides.write(BUILD / "slides"), sep="\n")


KINDS = {"site": site, "student": student, "slides": decks}


def main(arguments: list[str]) -> None:
    if len(arguments) != 1 or arguments[0] not in KINDS:
        raise SystemExit(f"say one of {', '.join(KINDS)}")
    KINDS[arguments[0]]()
