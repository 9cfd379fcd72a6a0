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
REFERENCE = DATA / "results" / "reference"

OUTPUT = Path(os.environ.get("COMPENDIUM_OUTPUT", ROOT)).resolve()
CACHE = Path(os.environ.get("COMPENDIUM_CACHE", DATA / "raw")).resolve()
RUNS = OUTPUT / "data" / "runs"


def results(name: str) -> Path:
    """Folder of the results of a configuration; ``reference`` is the committed one."""
    return REFERENCE if name == "reference" else OUTPUT / "data" / "results" / name


def figures(name: str) -> Path:
    """Folder of the figures of a configuration; the reference draws into ``figures`` itself."""
    return ROOT / "figures" if name == "reference" else OUTPUT / "figures" / name
