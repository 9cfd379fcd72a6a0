"""What `python -m lib.report` takes: CPU-seconds on one thread and memory, by the size of a table
of invented answers, a column a run; beside the code of another commit, where one is named.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from lib import paths

#: Examples and runs.
SIZES = ((40_430, 10), (1000, 1000), (1000, 5))


def answers(n: int, n_runs: int) -> pd.DataFrame:
    """Two classes; a tenth of the answers is wrong, in each run another."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, n)
    wrong = rng.random((n_runs, n)) < 0.1
    columns = {f"seed{k}": label ^ row for k, row in enumerate(wrong)}
    return pd.DataFrame({"example": np.arange(n), "label": label, **columns})


def cost(project: Path, table: Path, folder: Path) -> tuple[float, float]:
    """CPU-seconds and MB of one report, by the code in a folder; it has to succeed."""
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lib.report", str(table), "--out", str(folder)]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)}: ended with status {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against-ref", metavar="REF", help="a commit, whose code runs as well")
    reference = parser.parse_args().against_ref
    with tempfile.TemporaryDirectory() as name:
        folder, projects = Path(name), {"now": paths.ROOT}
        if reference:
            projects[reference] = folder / "old"
            command = ["git", "-C", str(paths.ROOT), "archive", "-o", f"{name}/old.tar", reference]
            subprocess.run([*command, "lib"], check=True)
            shutil.unpack_archive(f"{name}/old.tar", projects[reference], filter="data")
        for n, n_runs in SIZES:
            answers(n, n_runs).to_csv(folder / "answers.csv", index=False)
            for which, project in projects.items():
                seconds, memory = cost(project, folder / "answers.csv", folder)
                print(f"{n} × {n_runs}, {which}: {seconds:.1f} CPU-s, {memory:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
