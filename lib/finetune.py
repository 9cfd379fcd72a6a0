"""All runs of a setting, or of a configuration: those that the store lacks are trained and saved.

What one run is and how it is trained is ``lib.experiment``. Nothing here decides what a run looks
like, so a change of this module makes no finished run stale.
"""

import argparse
import os
from typing import Any

import torch
from tqdm import tqdm

from lib import backbones, bundle, paths, provenance, runs
from lib.config import Setting
from lib.errors import argument
from lib.experiment import finetune
from lib.grids import load_grids
from lib.seeds import Seeds


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
    given = bundle.inputs(setting)
    located, data = given.located, given.data
    version = provenance.TRAINING_VERSIONS[backbones.architecture_of(located)]
    records = []
    bar = tqdm(total=len(all_seeds), desc=setting.id, unit="run")
    for start in range(0, len(all_seeds), setting.seeds_per_batch):
        batch = all_seeds[start : start + setting.seeds_per_batch]
        folders = [runs.folder(setting.id, seeds.label, store) for seeds in batch]
        marks = [
            runs.fingerprint(setting, seeds, batch, data.sha256, located.sha256, version)
            for seeds in batch
        ]
        with paths.lock(folders[0]):
            found = [
                runs.finished(folder, mark, vectors=vectors)
                for folder, mark in zip(folders, marks, strict=True)
            ]
            if None in found:
                # Slow to import, so only here; and before the run, which records its warnings.
                import transformers.optimization  # noqa: F401

                made = finetune(setting, batch, device=device, data=data, located=located)
                for s, record in enumerate(found):
                    if record is None:
                        made[s].record |= provenance.machine() | {"sources": given.sources}
                        runs.save(made[s], folders[s])
                        found[s] = made[s].record
        records += found
        scores = [f"{r['score']:.3f}" if r["score"] is not None else r["status"] for r in found]
        bar.update(len(batch))
        bar.set_postfix_str(f"{found[-1]['metric']} {' '.join(scores[-3:])}")
    bar.close()
    return records


def main(arguments: list[str] | None = None) -> None:
    """Train all runs of a configuration without Jupyter: ``python -m lib.finetune CONFIG``."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.finetune",
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
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    for grid in load_grids(options.config):
        for setting, seeds in grid.part(options.part):
            finetune_seeds(setting, seeds, device=options.device, vectors=grid.keep_vectors)


if __name__ == "__main__":
    main()
