"""The student's copy in a browser, by JupyterLite and Pyodide: Python without an installation.

The page loads Pyodide, with numpy and whatever else is compiled, from the network, or has it beside
it where the archive of a release is given. **Not run in a browser**: neither could be had here.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from lib import paths

TARGET = paths.OUTPUT / "build/lite"
COPIED = ("lib", "data", "notebooks")


def core() -> list[str]:
    """What measures and analyses need, by requirements.txt."""
    text = (paths.ROOT / "requirements.txt").read_text()
    return re.findall(r"^[\w-]+", re.search(r"# \[core\].*\n((?:.+\n)+)", text)[1], re.M)


def write(student: Path, archive: str | None = None) -> None:
    """Build the shell around a student's copy, which first installs the core."""
    shutil.rmtree(TARGET, ignore_errors=True)
    for name in COPIED:
        shutil.copytree(student / name, TARGET / "contents" / name)
    first = f"%pip install {' '.join(core())}\nimport sys; sys.path.insert(0, '..')"
    for path in (TARGET / "contents/notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.insert(1, nbformat.v4.new_code_cell(first))
        nbformat.write(notebook, path)
    # It would leave out folders that are called lib.
    config = {"LiteBuildConfig": {"ignore_contents": ["__pycache__"]}}
    (TARGET / "jupyter_lite_config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "jupyter", "lite", "build", "--contents=contents"]
    command += ["--output-dir=html", *([f"--pyodide={Path(archive).resolve()}"] if archive else [])]
    subprocess.run(command, cwd=TARGET, check=True, stdout=subprocess.DEVNULL)
    print(f"{TARGET / 'html'}: serve it, for example with `python -m http.server`")
