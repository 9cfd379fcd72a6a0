"""How reliable is each measure over pairs of runs? Of representations too, for which the runs of
one committed group are trained again, since layer vectors are not kept.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib import config, measures, paths
from lib.analysis import reliability
from lib.measures.summary import REPRESENTATION
from lib.results import run_group, runs, tables
from lib.results.run_group import RunGroup
from lib.training import finetune
from lib.workflow import status

RESULTS, N_ROWS, N_RUNS = "reference-sizes", 1000, 20


def again(n_runs: int = N_RUNS) -> RunGroup:
    """The first runs of the committed group with ``N_ROWS`` training rows, with layer vectors."""
    table = tables.read(RESULTS, "runs")
    table = table[table["train_rows"] == N_ROWS]
    labels = table["seed_label"].tolist()
    setting = config.from_row(table.iloc[0].to_dict())
    planned = status.planned_runs(setting, labels)
    with tempfile.TemporaryDirectory() as store:
        seeds = [planned[label].seeds for label in labels[:n_runs]]
        finetune.finetune_seeds(setting, seeds, device="cpu", store=store)
        return RunGroup.of_runs([runs.load(runs.folder(setting.id, s.label, store)) for s in seeds])


def of_vectors(group: RunGroup, pooling: str) -> reliability.Measured:
    """What the representation measures say of the last layer on some examples."""
    last = [vectors[-1:] for vectors in group.representations[pooling]]

    def measured(rows: np.ndarray) -> dict[str, np.ndarray]:
        part = [vectors[:, rows] for vectors in last]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", measures.SaturationWarning)
            stacks = measures.representation_distances(part, REPRESENTATION)
        return {name: stack[0] for name, stack in stacks.items()}

    return measured


def table_of(group: RunGroup) -> pd.DataFrame:
    """A row a measure and pooling."""
    n, parts = len(group.labels), []
    measured = {"": reliability.of_outputs(run_group.score_runs(group))}
    measured |= {pooling: of_vectors(group, pooling) for pooling in sorted(group.representations)}
    for pooling, one in measured.items():
        halves = reliability.split_halves(one, n)
        parts.append(
            reliability.reliabilities(halves, len(group)).reset_index().assign(pooling=pooling)
        )
    about = {"n_runs": len(group), "n_examples": n, "n_splits": reliability.N_SPLITS}
    return pd.concat(parts, ignore_index=True).assign(**about)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=N_RUNS, help=f"trained again ({N_RUNS})")
    parser.add_argument("--out", type=Path, default=paths.DATA / "benchmarks", help="folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    group = again(options.runs)
    committed = next(
        one for one in run_group.read(RESULTS).values() if one.setting["train_rows"] == N_ROWS
    )
    same = np.mean(group.predictions == committed.predictions[: len(group)])
    print(f"{len(group)} runs answer {same:.1%} of the examples as the committed ones do")
    options.out.mkdir(parents=True, exist_ok=True)
    table_of(group).to_csv(options.out / "reliability.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
