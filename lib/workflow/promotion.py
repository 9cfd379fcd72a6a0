"""The committed results: promoted a group at a time, so that a campaign can stop anywhere, and
packed when it is done.

Those of the configuration ``quick`` are ``data/results/reference``, those of any other
``data/results/reference-<name>``.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

from lib import paths
from lib.config.grids import Grid, load_plans
from lib.config.job_kinds import JobList
from lib.errors import argument
from lib.results import tables
from lib.workflow import status


def promote(name: str, group: str) -> Path:
    """Copy the results of a group or job into its reference, whole or not at all.

    Of the layer vectors, only the sample of one group of ``reference``, without failed runs, is
    copied: one is enough to look at, and the committed results are to stay small. Returns the
    folder.
    """
    source = paths.results(name) / group
    target = paths.results(paths.reference_of(name)) / group
    if not (source / tables.MADE).exists():
        raise FileNotFoundError(
            f"no results of {group} in {source.parent}; `make run CONFIG={name}` makes them"
        )
    others = [path for path in target.parent.glob(f"*/{tables.SAMPLE}") if path.parent != target]
    sampled = (
        paths.reference_of(name) == "reference"
        and not others
        and (tables.read(name, "runs", [group])["status"] == "ok").all()
    )
    with paths.atomic_folder(target) as fresh:
        shutil.copytree(source, fresh, dirs_exist_ok=True)
        if not sampled:
            (fresh / tables.SAMPLE).unlink(missing_ok=True)
    return target


def prune(plan: Grid | JobList) -> list[str]:
    """Delete what the reference of a configuration holds beside its groups or jobs; their names."""
    name = paths.reference_of(plan.name)
    others = [path for path in paths.results(name).glob("*") if path.is_dir()]
    others = [path for path in others if path.name not in plan.groups]
    for path in others:
        shutil.rmtree(path)
    if old := tables.packed(name).keys() - plan.groups:
        tables.pack(name, plan.groups)
    return sorted({path.name for path in others} | old)


def pack(plan: Grid | JobList) -> str:
    """Pack the reference of a configuration if it holds all its groups or jobs; what was done."""
    name = paths.reference_of(plan.name)
    if missing := len(plan.groups.keys() - status.referenced(plan)):
        return f"{name}: {missing} of {len(plan.groups)} are missing, so nothing is packed"
    if folders := tables.folders(name):
        tables.pack(name, plan.groups)
    return f"{name}: {len(folders)} folders packed"


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


def main(arguments: list[str] | None = None) -> None:
    """``python -m lib.workflow.promotion promote NAME GROUP``, ``… prune CONFIG``, ``… pack
    [CONFIG …]``.
    """
    parser = argparse.ArgumentParser(prog="python -m lib.workflow.promotion", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    promoting = actions.add_parser("promote", help="copy one group's results into the reference")
    promoting.add_argument("name", help="of the results, data/results/NAME")
    promoting.add_argument("group")
    promoting.add_argument("--commit", action="store_true", help="and commit it to git")
    pruning = actions.add_parser("prune", help="delete what a configuration does not name")
    pruning.add_argument(
        "config", type=argument(load_plans), help="name in config/ or path of a .yaml file"
    )
    packing = actions.add_parser("pack", help="put complete results into one file a table")
    packing.add_argument(
        "configs",
        metavar="NAME",
        nargs="*",
        default=["campaign"],
        type=argument(load_plans),
        help="configurations (default: campaign)",
    )
    packing.add_argument("--commit", action="store_true", help="and commit them to git")
    options = parser.parse_args(arguments)
    if options.action == "promote":
        folder = promote(options.name, options.group)
        if options.commit:
            commit(folder, f"Results of {folder.parent.name}: {folder.name}")
        print(f"promoted {options.name}/{options.group}")
    elif options.action == "pack":
        for plan in [plan for config in options.configs for plan in load_plans(config)]:
            print(pack(plan))
            if options.commit:
                name = paths.reference_of(plan.name)
                commit(paths.results(name), f"Results of {name}, packed")
    else:
        for plan in load_plans(options.config):
            for group in prune(plan):
                print(f"{plan.name}: deleted {group}, which the configuration does not name")


if __name__ == "__main__":
    main()
