"""What `make` and the engine call: ``python -m lib.workflow run|status|promote|pack``."""

import argparse
import sys

import pandas as pd

from lib import paths
from lib.config.grids import load_plans
from lib.errors import argument
from lib.workflow import jobs, promotion, run, status

HELP = {
    "run": "run the engine and show how far it is",
    "status": "what is done, failed and missing, and the time left",
    "promote": "copy one group's results into the reference",
    "pack": "delete what the reference of a configuration holds beside its groups or jobs; put it "
    "into one file a table, if it is complete",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lib.workflow", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    run, status, promote, pack = (actions.add_parser(word, help=HELP[word]) for word in HELP)
    for action in (run, status, pack):
        what = "name in config/ or path of a .yaml file"
        action.add_argument("config", type=argument(load_plans), help=what)
    run.add_argument("--campaign", action="store_true", help="only what the reference lacks")
    run.add_argument("engine", nargs="*", help="options of the engine, behind --")
    status.add_argument("--cores", type=int, default=2, help="for the time left (default 2)")
    status.add_argument("--missing", action="store_true", help="only what is missing")
    promote.add_argument("name", help="of the results, data/results/NAME")
    promote.add_argument("group")
    for action in (promote, pack):
        action.add_argument("--commit", action="store_true", help="and commit it to git")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = _parser().parse_args(arguments)
    if options.action == "promote":
        folder = promotion.promote(options.name, options.group)
        if options.commit:
            promotion.commit(folder, f"Results of {folder.parent.name}: {folder.name}")
        print(f"promoted {options.name}/{options.group}")
        return
    if options.action == "run":
        try:
            plan = jobs.load(options.config, campaign=options.campaign)
        except ValueError as error:
            sys.exit(str(error))
        run.run(plan, options.engine, campaign=options.campaign)
        return
    plans = load_plans(options.config)
    if options.action == "pack":
        for plan in plans:
            print(*promotion.pack(plan), sep="\n")
            if options.commit:
                name = paths.reference_of(plan.name)
                promotion.commit(paths.results(name), f"Results of {name}, packed")
        return
    standing = [status.standing(plan) for plan in plans]
    for column in ("job", "setting"):
        if of_kind := [table for table in standing if column in table]:
            table = pd.concat(of_kind, ignore_index=True)
            print(status.report(table, options.cores, only_missing=options.missing))


if __name__ == "__main__":
    main()
