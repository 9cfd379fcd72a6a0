"""A campaign without Snakemake, papermill and Jupyter, for a machine that has none of them.

The order of the configuration is the order of worth. Each group is trained, measured and promoted
before the next one begins, so whatever has come out by the time the machine is gone can be kept.
The steps are those of the notebooks 10 and 12.
"""

import argparse

import torch
from tqdm import tqdm

from lib import bundle, devices, finetune, groups, paths, progress, reference, runs, tables
from lib.errors import argument
from lib.grids import Grid, load_grids


def missing(configuration: str) -> list[tuple[Grid, str]]:
    """The groups that the committed reference lacks or holds out of date, each with its grid."""
    return [(grid, group) for grid in load_grids(configuration) for group in _lacking(grid)]


def _lacking(grid: Grid) -> list[str]:
    held = progress.referenced(grid)
    return [group for group in grid.groups if group not in held]


def run_group(grid: Grid, group: str, device: str) -> None:
    """Train the runs of a group that the store lacks, measure them, promote the tables.

    Distances are computed on the device too, unless it is the CPU.
    """
    settings = {setting.id: setting for setting in grid.settings}
    members = grid.groups[group]
    for member in members:
        finetune.finetune_seeds(settings[member], grid.seeds, device=device)
    labels = [seeds.label for seeds in grid.seeds]
    found = runs.load_group(members, labels)
    place = str(devices.pick(device))
    made = groups.tables_of(found, device=None if place == "cpu" else place)
    tables.save_tables(grid.name, group, made, groups.sample_vectors(found))
    reference.promote(grid.name, group)
    if not grid.keep_vectors:
        for member in members:
            runs.drop_vectors(member)


def main(arguments: list[str] | None = None) -> None:
    """``python -m lib.campaign CONFIG``: what the reference lacks, a group at a time."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.campaign",
        description="Train, measure and promote the groups that the reference lacks.",
    )
    parser.add_argument(
        "config", type=argument(load_grids), nargs="?", default="campaign", help="default: campaign"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only list what is missing")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, …")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument(
        "--part", default="1/1", metavar="I/K", help="every K-th group, from the Ith"
    )
    options = parser.parse_args(arguments)
    number, of = (int(word) for word in options.part.split("/"))
    torch.set_num_threads(options.threads)
    todo = missing(options.config)[number - 1 :: of]
    if paths.BUNDLE and not options.dry_run:
        print(f"{paths.BUNDLE}: {bundle.check(paths.BUNDLE)} files as packed")
    for grid, group in tqdm(todo, desc=options.config, unit="group", disable=options.dry_run):
        if options.dry_run:
            print(f"{grid.name}/{group}")
        else:
            run_group(grid, group, options.device)
    print(f"{len(todo)} groups " + ("are missing" if options.dry_run else "were made"))


if __name__ == "__main__":
    main()
