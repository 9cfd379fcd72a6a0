"""All runs of a setting, or of a configuration: those that the store lacks are trained and saved.

What one run is and how it is trained is ``lib.training.experiment``. Nothing here decides what a
run looks like, so a change of this module makes no finished run stale.
"""

import argparse
import os
from typing import Any

import torch
from tqdm import tqdm

from lib import paths
from lib.config import Setting
from lib.config.grids import load_grids
from lib.config.seeds import Seeds
from lib.errors import argument
from lib.results import runs
from lib.training.experiment import finetune
from lib.training.inputs import prepare_inputs


def finetune_seeds(
    setting: Setting,
    all_seeds: list[Seeds],
    *,
    device: str = "auto",
    vectors: bool = True,
    store: "os.PathLike[str] | None" = None,
) -> list[dict[str, Any]]:
    """Train the runs that the store lacks, each saved as it is finished.

    ``setting.seeds_per_batch`` neighbours in the list are one program; if one of them is missing
    they are all trained again, since dropout is drawn for them together, and the missing are saved.
    Several processes may be asked for the same runs: one trains, the others wait and find them.
    ``vectors``: a run whose layer vectors were deleted is trained again, to the same bits.
    Returns the records of all runs, those found included.
    """
    inputs = prepare_inputs(setting)
    records = []
    bar = tqdm(total=len(all_seeds), desc=setting.id, unit="run")
    for batch in runs.programs(setting, all_seeds):
        folders = [runs.folder(setting.id, seeds.label, store) for seeds in batch]
        fingerprints = [runs.fingerprint(setting, seeds, batch, inputs.origin) for seeds in batch]
        with paths.lock(folders[0]):
            latest = [
                runs.finished(folder, fingerprint, vectors=vectors)
                for folder, fingerprint in zip(folders, fingerprints, strict=True)
            ]
            if None in latest:
                # Slow to import, so only here; and before the run, which records its warnings.
                import transformers.optimization  # noqa: F401

                trained = finetune(inputs, batch, device=device)
                for s, run in enumerate(trained):
                    if latest[s] is None:
                        runs.save(run, folders[s])
                        latest[s] = run.record
        records += latest
        scores = [f"{r['score']:.3f}" if r["score"] is not None else r["status"] for r in latest]
        bar.update(len(batch))
        bar.set_postfix_str(f"{latest[-1]['metric']} {' '.join(scores[-3:])}")
    bar.close()
    return records


def main(arguments: list[str] | None = None) -> None:
    """Train all runs of a configuration without Jupyter: ``python -m lib.training CONFIG``.

    With a copy of ``data/raw`` also without a network, and without the texts of the tasks.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lib.training",
        description="Train the runs of a configuration that the store lacks, without notebooks.",
    )
    parser.add_argument(
        "config", type=argument(load_grids), help="name in config/ or path of a .yaml file"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, …")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument(
        "--part",
        default="1/1",
        metavar="I/K",
        help="of K machines this is number I: train every K-th job of seeds_per_job seeds",
    )
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="train nothing: put weights and tokens, all that training reads, into data/raw",
    )
    options = parser.parse_args(arguments)
    try:
        parts = [grid.part(options.part) for grid in options.config]
    except ValueError as error:
        parser.error(str(error))
    torch.set_num_threads(options.threads)
    for grid, part in zip(options.config, parts, strict=True):
        for setting, seeds in part:
            if options.prepare:
                prepare_inputs(setting)
            else:
                finetune_seeds(setting, seeds, device=options.device, vectors=grid.keep_vectors)
