"""Train the tiny runs of a list of cases with the ``lib`` that is imported, and keep what came out.

    python runner.py CASES.json OUT

``tests/training/test_behaviour.py`` calls it twice, with today's code and with the archived code of
a version, and compares. It is archived together with that code, so it may follow today's interface.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from lib import measures
from lib.config import Setting
from lib.config.seeds import read
from lib.training.experiment import finetune
from lib.training.inputs import prepare_inputs


def train(case: dict) -> dict[str, np.ndarray]:
    """What the runs of one case predict, how they were trained, and how far apart they are."""
    inputs, seeds = prepare_inputs(Setting(**case["setting"])), read(case["seeds"])
    programs = [[seed] for seed in seeds] if inputs.data.task.generates else [seeds]
    runs = [run for program in programs for run in finetune(inputs, program, device="cpu")]
    outcome = {}
    for run in runs:
        seed = run.record["seed_label"]
        arrays = {name: getattr(run, name) for name in ("logits", "labels")} | run.vectors
        arrays["example_ids"] = run.example_ids
        arrays |= {name: [step[name] for step in run.log] for name in run.log[0]}
        arrays |= run.generated
        arrays["moved"] = list(run.record["distance"].values())
        arrays["new"] = run.record["newly_initialised"]
        arrays["trained_weights"] = run.record["trained_weights"]
        outcome |= {f"{seed} {name}": np.asarray(array) for name, array in arrays.items()}
    if len(runs) > 2:
        vectors = np.stack([run.vectors["mean"] for run in runs])
        outcome |= distances(vectors, "layers")
    return outcome


def distances(vectors: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """All distances between runs, by measure."""
    kinds = ("svcca", "svcca_published", "op", "cka", "cka_biased")
    by_measure = measures.representation_distances(vectors, kinds)
    return {f"{name} {kind}": by_measure[kind] for kind in kinds}


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    draw = np.random.default_rng(0)
    drawn = {}
    for n, width in ((40, 12), (12, 40)):
        drawn |= distances(draw.normal(size=(4, 2, n, width)), f"{n} x {width}")
    np.savez(out / "drawn.npz", **drawn)
    for case in cases:
        np.savez(out / f"{case['name']}.npz", **train(case))
