"""Where things are. Absolute, from this file: a notebook finds them from any working directory.

Two environment variables redirect what is written, never what is committed:

COMPENDIUM_CACHE   downloads and tokenised data (default ``data/raw``); can be shared by checkouts
COMPENDIUM_OUTPUT  runs, results and figures (default: this checkout); tests point it elsewhere
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
PUBLISHED = DATA / "reference"
#: Promoted results: ``reference``, ``reference-ladder``, …
COMMITTED = DATA / "results"

OUTPUT = Path(os.environ.get("COMPENDIUM_OUTPUT") or ROOT).resolve()
CACHE = Path(os.environ.get("COMPENDIUM_CACHE") or DATA / "raw").resolve()
RUNS = OUTPUT / "data" / "runs"


def is_reference(name: str) -> bool:
    """Whether results of this name are committed: ``reference``, ``reference-<configuration>``."""
    return name.split("-")[0] == "reference"


def results(name: str) -> Path:
    """Folder of the results of a configuration; those called reference are the committed ones."""
    return COMMITTED / name if is_reference(name) else OUTPUT / "data" / "results" / name


def figures(name: str) -> Path:
    """Folder of the figures of a configuration; the references draw into ``figures`` itself."""
    return ROOT / "figures" if is_reference(name) else OUTPUT / "figures" / name
