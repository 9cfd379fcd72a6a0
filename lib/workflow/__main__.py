"""What `make` and the engine call, and what works without them: ``python -m lib.workflow``."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from lib import paths
from lib.config.grids import load_grids, load_plans
from lib.errors import argument
from lib.results import exports, group_tables, runs, tables
from lib.workflow import jobs, promotion, run, status

ACTIONS = {
    "run": "run the engine and show how far it is",
    "status": "what is done, failed and missing, and the time left",
    "measure": "measure the groups of a configuration whose runs are trained",
    "remeasure": "measure groups again, from their stored logits and distances",
    "export": "write stored runs in the schemas of Every Eval Ever, two files a run",
    "drop": "delete the layer vectors of a setting, which are measured",
    "story": "print a notebook without the solutions of its exercises",
    "promote": "copy one group's results into the reference",
    "pack": "delete what the reference of a configuration holds beside its groups or jobs; put it "
    "into one file a table, if it is complete",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.workflow", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    of = {name: actions.add_parser(name, help=text) for name, text in ACTIONS.items()}
    loads = {"run": str, "status": load_plans, "measure": load_grids, "pack": load_plans}
    for name, load in loads.items():
        what = {"type": argument(load), "help": "name in config/ or path of a .yaml file"}
        of[name].add_argument("config", **what)
    of["run"].add_argument("--campaign", action="store_true", help="only what the reference lacks")
    of["run"].add_argument("engine", nargs="*", help="options of the engine, behind --")
    of["status"].add_argument("--cores", type=int, default=2, help="for the time left (default 2)")
    of["status"].add_argument("--missing", action="store_true", help="only what is missing")
    of["measure"].add_argument("--device", help="cuda, cuda:1, …: compute distances there")
    stored = {"nargs": "*", "type": argument(group_tables.check_stored)}
    of["remeasure"].add_argument("results", **stored, help="data/results/RESULTS (default: all "
                                 "committed ones)")  # fmt: skip
    of["export"].add_argument("results", type=argument(group_tables.check_stored), help="data/"
                              "results/RESULTS")  # fmt: skip
    of["export"].add_argument("folder", type=Path, nargs="?", help="default: build/export/RESULTS")
    of["drop"].add_argument("setting", help="its id, a folder of data/runs")
    of["story"].add_argument("notebook", help="its name, without notebooks/ and .ipynb")
    of["promote"].add_argument("name", help="of the results, data/results/NAME")
    of["promote"].add_argument("group")
    for name in ("promote", "pack"):
        of[name].add_argument("--commit", action="store_true", help="and commit it to git")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if vars(options).get("commit") and not (paths.ROOT / ".git").exists():
        parser.error(f"--commit: {paths.ROOT} is no git checkout; without it, all else is done")
    match options.action:
        case "run":
            try:
                plan = jobs.load(options.config, campaign=options.campaign)
            except ValueError as error:
                sys.exit(str(error))
            run.run(plan, options.engine, campaign=options.campaign)
        case "status":
            standing = [status.standing(plan) for plan in options.config]
            for column in ("job", "setting"):
                if of_kind := [table for table in standing if column in table]:
                    table = pd.concat(of_kind, ignore_index=True)
                    print(status.report(table, options.cores, only_missing=options.missing))
        case "measure":
            group_tables.measure_trained(options.config, options.device)
        case "remeasure":
            for name in options.results or tables.committed():
                group_tables.measure_stored(name)
        case "export":
            target = options.folder or paths.OUTPUT / "build/export" / options.results
            for line in exports.export(options.results, target):
                print(line)
            print(f"in {target}")
        case "drop":
            runs.drop_vectors(options.setting)
            print(f"layer vectors of {options.setting} were deleted")
        case "story":
            print(jobs.story(options.notebook))
        case "promote":
            folder = promotion.promote(options.name, options.group)
            if options.commit:
                promotion.commit(folder, f"Results of {folder.parent.name}: {folder.name}")
            print(f"promoted {options.name}/{options.group}")
        case "pack":
            for plan in options.config:
                print(*promotion.pack(plan), sep="\n")
                if options.commit:
                    name = paths.reference_of(plan.name)
                    promotion.commit(paths.results(name), f"Results of {name}, packed")


if __name__ == "__main__":
    main()
