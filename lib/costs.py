"""What a configuration costs before it is run: operations, hours, disk, jobs.

    python -m lib.costs quick                 one configuration, a row a setting
    python -m lib.costs --page FOLDER         all of them, as FOLDER/costs.md and costs.csv

Core hours follow from runs that were timed; GPU hours were **not measured** and follow from data
sheets and assumptions that ``lib.timing`` names.
"""

import argparse
from pathlib import Path

import pandas as pd

from lib import timing, work
from lib.errors import argument
from lib.grids import Grid, load_grids
from lib.sizes import shape_of, size_of

#: The configurations whose runs are committed.
HERE = "campaign"
#: Training jobs of one run each that are handed to a scheduler as one.
TOGETHER = 20
_GIGA, _PETA = 1e9, 1e15


def by_setting(grid: Grid, speed: timing.Speed) -> pd.DataFrame:
    """A row a setting of a grid, of all its runs together.

    ``tokens`` of training text; ``operations`` with evaluation and continued pretraining;
    ``core_s`` on a core of the machines that the committed runs were timed on; ``gpu_cheap_s`` and
    ``gpu_dear_s`` on an H100; bytes: ``vectors``, which are deleted once they are measured,
    ``kept`` in the run store, ``tables``, and ``checkpoints``, which are not written here.
    """
    rows, runs = [], len(grid.seeds)
    for setting in grid.settings:
        one, disk = work.work_of(setting), work.stored(setting)
        layers = shape_of(setting.backbone).layers
        cheap, dear = (
            timing.gpu_seconds(setting, one, layers, assumed)
            for assumed in (timing.CHEAP, timing.DEAR)
        )
        share = 1 + one.shared / one.operations / runs
        rows.append(
            {
                "configuration": grid.name,
                "setting": setting.id,
                "backbone": setting.backbone,
                "task": setting.task,
                "lengths": size_of(setting).how,
                "runs": runs,
                "parameters": one.parameters,
                "steps": one.steps,
                "tokens": runs * one.tokens,
                "operations": runs * one.operations * share,
                "core_s": runs * speed.seconds(setting, one) * share,
                "gpu_cheap_s": runs * cheap * share,
                "gpu_dear_s": runs * dear * share,
                "vectors": runs * disk.vectors,
                "kept": runs * disk.kept,
                "tables": work.table_bytes(setting, runs),
                "checkpoints": runs * disk.checkpoint,
            }
        )
    return pd.DataFrame(rows)


def by_configuration(grids: list[Grid], speed: timing.Speed) -> pd.DataFrame:
    """A row a grid: its settings added up, in hours and gigabytes, and what a scheduler gets."""
    rows = []
    for grid in grids:
        table = by_setting(grid, speed)
        total = table.sum(numeric_only=True)
        jobs, single = work.load_of(grid), work.load_of(grid, seeds_per_job=1)
        rows.append(
            {
                "configuration": grid.name,
                "settings": len(table),
                "runs": int(total["runs"]),
                "Mtokens": total["tokens"] / 1e6,
                "PFLOP": total["operations"] / _PETA,
                "core h": total["core_s"] / 3600,
                "GPU h, cheap": total["gpu_cheap_s"] / 3600,
                "GPU h, dear": total["gpu_dear_s"] / 3600,
                "vectors GB": total["vectors"] / _GIGA,
                "largest group GB": table["vectors"].max() / _GIGA,
                "kept GB": total["kept"] / _GIGA,
                "tables MB": total["tables"] / 1e6,
                "checkpoints GB": total["checkpoints"] / _GIGA,
                "jobs": jobs.jobs,
                "core h of jobs beside": jobs.jobs * timing.job_seconds() / 3600,
                "jobs, a run each": single.jobs,
                f"submissions, {TOGETHER} together": single.submissions(TOGETHER),
                "files of runs": single.run_files,
                "files of the engine": single.engine_files,
            }
        )
    return pd.DataFrame(rows)


def digits(value: object) -> str:
    """A number as tables show it: with three digits that count if it has a point."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _shown(table: pd.DataFrame) -> str:
    """The rows of settings in hours and megabytes."""
    shown = table[["setting", "runs", "parameters", "steps"]].copy()
    shown["PFLOP"] = table["operations"] / _PETA
    for name, column in {"core h": "core_s", "GPU h": "gpu_cheap_s", "to": "gpu_dear_s"}.items():
        shown[name] = table[column] / 3600
    for column in ("vectors", "kept", "tables", "checkpoints"):
        shown[f"{column} MB"] = table[column] / 1e6
    return shown.astype(object).map(digits).to_string(index=False)


def main(arguments: list[str] | None = None) -> None:
    """``python -m lib.costs CONFIG``: what it would take; nothing is run or downloaded."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.costs",
        description="What a configuration would take: operations, hours, disk, jobs. Nothing is "
        "run or downloaded. GPU hours were not measured: see lib/timing.py for what is assumed.",
    )
    parser.add_argument(
        "config", type=argument(load_grids), nargs="?", help="name in config/ or path of a .yaml"
    )
    parser.add_argument("--page", type=Path, metavar="FOLDER", help="write costs.md and costs.csv")
    options = parser.parse_args(arguments)
    if not options.config and not options.page:
        parser.error("name a configuration, or --page FOLDER")
    speed = timing.fit(timing.committed(load_grids(HERE)), timing.bfloat16_gain())
    try:
        if options.config:
            grids = load_grids(options.config)
            for grid in grids:
                print(f"\n{grid.name}\n{_shown(by_setting(grid, speed))}")
            total = by_configuration(grids, speed).astype(object).T
            print(f"\n{total.map(digits).to_string(header=False)}")
            print("\nGPU hours were not measured: see the assumptions in lib/timing.py")
        if options.page:
            from lib import costs_page

            print(costs_page.write(options.page))
    except ValueError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
