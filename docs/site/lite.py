"""The student's copy in a browser, by JupyterLite and Pyodide: Python without an installation.

Everything that is pure Python comes from PyPI and npm. What is compiled for WebAssembly, numpy and
eleven more, is part of Pyodide's releases and of no package registry; whoever has a release gives
its folder. **Not run in a browser**: Python starts there, but without numpy no notebook could run.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from docs.site import vendor
from lib import paths

TARGET = paths.OUTPUT / "build/lite"
COPIED = ("lib", "data", "notebooks")
#: What the kernel itself is made with, beside the section ``core`` of requirements.txt.
KERNEL = ("micropip", "ipython", "jedi", "comm")


def core() -> list[str]:
    text = (paths.ROOT / "requirements.txt").read_text()
    return re.findall(r"^[\w-]+", re.search(r"# \[core\].*\n((?:.+\n)+)", text)[1], re.M)


def needed(lock: dict[str, dict]) -> dict[str, dict]:
    """Pyodide's entries for the kernel, the core and what they stand on; empty if it has none."""
    waiting, found = [*KERNEL, *core()], {}
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name not in found:
            found[name] = lock.get(name, {})
            waiting += found[name].get("depends", [])
    return found


def fetch_pure(packages: dict[str, dict], target: Path) -> None:
    """Wheels of pure Python from PyPI, in Pyodide's version or else in ours."""
    pins = dict(re.findall(r"^(.+)==(.+)$", (paths.ROOT / "constraints.txt").read_text(), re.M))
    wanted = [
        f"{name}=={package.get('version', pins.get(name))}" for name, package in packages.items()
    ]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", f"--dest={target}"]
    command += ["--python-version=3.14", "--platform=any", "--abi=none", "--only-binary=:all:"]
    subprocess.run([*command, *wanted], check=True)


def copy_compiled(packages: dict[str, dict], folder: Path, target: Path) -> None:
    """Wheels from a folder, each of its sha256; else end with a list of the others."""
    files = {package["file_name"]: package["sha256"] for package in packages.values()}
    wrong = [
        f"{name}  {expected}"
        for name, expected in files.items()
        if not (folder / name).is_file()
        or hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected
    ]
    if wrong:
        raise SystemExit("\n".join([f"{folder}: missing, or of another sha256:", *wrong]))
    for name in files:
        shutil.copy2(folder / name, target)


def write(student: Path, folder: str | None = None) -> None:
    """Build the shell around a student's copy, with compiled wheels if there is a folder."""
    shutil.rmtree(TARGET, ignore_errors=True)
    pyodide, contents = TARGET / "source/static/pyodide", TARGET / "contents"
    vendor.fetch("pyodide", pyodide)
    lock = json.loads((pyodide / "pyodide-lock.json").read_text())
    packages = needed(lock["packages"])
    compiled = {n: p for n, p in packages.items() if "wasm32" in p.get("file_name", "")}
    fetch_pure({n: p for n, p in packages.items() if n not in compiled}, TARGET / "source/pypi")
    if folder:
        copy_compiled(compiled, Path(folder), pyodide)
    # Its release has the pure ones in other archives than PyPI.
    for package in (p for n, p in packages.items() if p and n not in compiled):
        wheel = shutil.move(TARGET / "source/pypi" / package["file_name"], pyodide)
        package["sha256"] = hashlib.sha256(Path(wheel).read_bytes()).hexdigest()
    (pyodide / "pyodide-lock.json").write_text(json.dumps(lock))
    # It would leave out folders that are called lib.
    config = {"LiteBuildConfig": {"ignore_contents": ["__pycache__"]}}
    (TARGET / "source/jupyter_lite_config.json").write_text(json.dumps(config))
    for name in COPIED:
        shutil.copytree(student / name, contents / name)
    first = f"%pip install {' '.join(core())}\nimport sys; sys.path.insert(0, '..')"
    for path in (contents / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.insert(1, nbformat.v4.new_code_cell(first))
        nbformat.write(notebook, path)
    folders = {"lite-dir": "source", "contents": "contents", "output-dir": "html"}
    command = [sys.executable, "-m", "jupyter", "lite", "build"]
    command += [f"--{name}={TARGET / folder}" for name, folder in folders.items()]
    subprocess.run(command, cwd=TARGET, check=True, stdout=subprocess.DEVNULL)
    print(f"{TARGET / 'html'}: serve it, for example with `python -m http.server`")
