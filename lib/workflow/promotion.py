"""The committed results: promoted a group at a time, so that a campaign can stop anywhere, and
packed when it is done.

Those of the configuration ``quick`` are ``data/results/reference``, those of any other
``data/results/reference-<name>``.
"""

import shutil
import subprocess
from pathlib import Path

from lib import paths
from lib.config.grids import Grid
from lib.config.job_kinds import JobList
from lib.results import tables
from lib.workflow import status


def promote(name: str, group: str) -> Path:
    """Copy the results of a group or job into its reference, whole or not at all, and return the
    folder. Samples of layer vectors stay behind, but for that of one group of ``reference``,
    without failed runs: one is enough to look at.
    """
    reference, source = paths.reference_of(name), paths.results(name) / group
    target = paths.results(reference) / group
    if not (source / tables.MADE).exists():
        raise FileNotFoundError(
            f"no results of {group} in {source.parent}; `make run CONFIG={name}` makes them"
        )
    sampled = {path.parent for path in target.parent.glob(f"*/{tables.SAMPLE}")} - {target}
    wanted = reference == "reference" and not sampled
    with paths.atomic_folder(target) as fresh:
        shutil.copytree(source, fresh, dirs_exist_ok=True)
        if not (wanted and (tables.read(name, "runs", [group])["status"] == "ok").all()):
            (fresh / tables.SAMPLE).unlink(missing_ok=True)
    return target


def pack(plan: Grid | JobList) -> list[str]:
    """Delete what the reference of a configuration holds beside its groups or jobs, and pack it if
    it holds all of them; what was done, in lines.
    """
    name = paths.reference_of(plan.name)
    folders = {path.name for path in paths.results(name).glob("*") if path.is_dir()}
    others = folders - plan.groups.keys()
    for group in others:
        shutil.rmtree(paths.results(name) / group)
    packed = tables.records(name).keys() - plan.groups.keys()
    done = [
        f"{name}: deleted {group}, which the configuration does not name"
        for group in sorted(others | packed)
    ]
    left = tables.folders(name)
    if missing := len(plan.groups.keys() - status.referenced(plan)):
        done.append(f"{name}: {missing} of {len(plan.groups)} are missing, so nothing is packed")
    else:
        done.append(f"{name}: {len(left)} folders packed")
    if packed or (left and not missing):
        tables.pack(name, plan.groups)
    return done


def commit(path: Path, message: str) -> None:
    """Commit one folder of the reference, and nothing else that may be staged or changed."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(paths.ROOT), *arguments, "--", str(path)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    # Git refuses two commits at once; groups are promoted by several processes.
    with paths.lock(paths.ROOT / ".git" / "campaign"):
        git("add", "--all")
        if git("status", "--porcelain"):
            git("commit", "--quiet", "-m", message)
