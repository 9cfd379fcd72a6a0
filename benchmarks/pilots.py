"""How many pilot runs fail at each rate of the ladders of study C: ``python -m benchmarks.pilots``.

Trains what ``pilots.csv`` lacks of ``config/pilots.yaml``, ten seeds of a setting at a time, and
writes each down as it comes, so that it can be stopped anywhere and go on on another machine.
Prints the rates that the rule of ``docs/preregistration.md`` takes of the ladders that are whole.
"""

import argparse

import pandas as pd

from lib import paths
from lib.analysis.learning_rate_sweep import CLEAR
from lib.config.grids import load_grids
from lib.results import runs
from lib.training.finetune import finetune_seeds

TABLE = paths.DATA / "benchmarks/pilots.csv"
LADDER = ["backbone", "task", "method"]
KEPT = ["setting_id", "seed", "status", "accuracy", "majority"]
#: Of ten pilots at least so many fail, and so many do not.
FEWEST = 2


def half_failing(table: pd.DataFrame) -> pd.DataFrame:
    """The rate taken of each ladder: ``backbone, task, method``, ``learning_rate``, ``failed`` (the
    share of failed runs) and ``gain``, by which successful runs beat the majority class.

    It is that whose share of failed runs is nearest to one half, of equals the lower, if at least
    two runs fail and two do not, and successful ones gain more than five points on average. Ladders
    without such a rate have no row.
    """
    ok = table["status"] == "ok"
    table = table.assign(failed=~ok, gain=(table["accuracy"] - table["majority"]).where(ok))
    rates = table.groupby([*LADDER, "learning_rate"], sort=False)
    found = rates.agg(failed=("failed", "mean"), gain=("gain", "mean"))
    counts = rates["failed"].agg(["sum", "size"])
    fit = counts["sum"].ge(FEWEST) & (counts["size"] - counts["sum"]).ge(FEWEST)
    found = found[fit & found["gain"].gt(CLEAR)].reset_index()
    found = found.assign(off=(found["failed"] - 0.5).abs().round(9))
    return found.sort_values(["off", "learning_rate"]).groupby(LADDER, sort=False).head(1).drop(
        columns="off"
    )  # fmt: skip


def main() -> None:
    """Train what the table lacks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pilots", description=main.__doc__)
    parser.add_argument("--backbone", default="", help="only this encoder")
    options = parser.parse_args()
    (grid,) = load_grids("pilots/ladders")
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=["setting_id"])
    for setting in grid.settings:
        known = set(table["setting_id"])
        if setting.id in known or options.backbone not in ("", setting.backbone):
            continue
        rows = pd.DataFrame(finetune_seeds(setting, grid.seeds, device="cpu", vectors=False))[KEPT]
        runs.drop_vectors(setting.id)
        ladder = {name: getattr(setting, name) for name in [*LADDER, "learning_rate", "train_rows"]}
        table = pd.concat([table, rows.assign(**ladder)], ignore_index=True)
        table.to_csv(TABLE, index=False)
    whole = table.groupby(LADDER)["learning_rate"].transform("nunique")
    of_grid = {b: len({s.learning_rate for s in grid.settings if s.backbone == b})
               for b in dict.fromkeys(s.backbone for s in grid.settings)}  # fmt: skip
    print(half_failing(table[whole == table["backbone"].map(of_grid)]).to_string(index=False))


if __name__ == "__main__":
    main()
