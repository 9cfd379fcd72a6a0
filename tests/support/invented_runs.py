"""Runs of invented numbers, as training would record them."""

import numpy as np
import pandas as pd

from lib.config import Setting, seeds
from lib.measures import scoring
from lib.results.runs import Run

PARTS = ("embeddings", "layer1", "layer2", "head")
SETTING = Setting(task="nyt", learning_rate=1e-3)


def make_run(
    seed,
    *,
    setting=SETTING,
    n=30,
    n_classes=2,
    n_layers=3,
    status="ok",
    metric="accuracy",
    poolings=("first", "mean"),
    **record,
):
    """A run of that status, with a log and vectors of every part, and what is to be recorded."""
    rng = np.random.default_rng(seed)
    steps, lost = np.arange(50), status == "diverged"
    norms = {f"gradient_norm_{part}": rng.lognormal(size=50) for part in PARTS}
    log = {"step": steps, "loss": rng.random(50), "lr": 1e-3, "gradient_norm": 1.5, **norms}
    log = pd.DataFrame(log).to_dict("records")
    labels = np.arange(n) % n_classes if n_classes > 1 else np.linspace(0, 1, n)
    logits = rng.normal(size=(n, n_classes)).astype(np.float32)
    vectors = {name: rng.normal(size=(n_layers, n, 8)).astype(np.float32) for name in poolings}
    if n_classes == 1:
        logits = (labels + 0.1 * logits.T).T
    else:
        logits[np.arange(n), labels] += -2 if status == "failed" else 2
    if status == "collapsed":
        logits[:, 0] = 9.0
    if lost:
        log = [*log[:30], log[30] | {"loss": np.nan}]
        for array in (logits, *vectors.values()):
            array[:] = np.nan
    record = {
        "setting_id": "demo", "setting": setting.to_dict(), "seed": seed,
        "seed_label": f"seed{seed}", **{f"seed_{stream}": seed for stream in seeds.STREAMS},
        "distance": {"all": 2.0, **dict.fromkeys(PARTS, 1.0), "head": 0.0, "layer1": 1.0 + seed},
        "newly_initialised": ["classifier.weight"], "code": "1", "n_train": 10, "n_eval": n,
        "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
        "fingerprint": f"print{seed}", "data_sha256": "d", "device": "cpu", "threads": 1,
        "classes": [], "warnings": [], **scoring.score_run(labels, logits, metric), **record,
    }  # fmt: skip
    assert record["status"] == status
    return Run(record, logits, labels, np.array([f"e{i}" for i in range(n)]), log, vectors)


def make_runs(n_runs, **how):
    """A group of invented runs."""
    return [make_run(seed, **how) for seed in range(n_runs)]
