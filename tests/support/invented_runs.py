"""Runs of invented numbers, as training would record them."""

import numpy as np

from lib.config import Setting
from lib.measures import scoring
from lib.results.runs import Run


def make_run(seed, *, n=30, fingerprint=None, status="ok", poolings=("first", "mean")):
    """An invented run; one that failed answers most examples wrong."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    logits = rng.normal(size=(n, 2)).astype(np.float32)
    logits[np.arange(n), labels] += 2 if status == "ok" else -2
    record = {
        "setting_id": "demo",
        "setting": Setting(task="nyt", learning_rate=1e-3).to_dict(),
        "seed": seed, "seed_label": f"seed{seed}", "distance": {"all": 1.0},
        "newly_initialised": ["classifier.weight"], "code": "1",
        "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
        "fingerprint": fingerprint or f"print{seed}", "data_sha256": "d",
        "classes": [], "warnings": [], **scoring.score_run(labels, logits, "accuracy"),
    }  # fmt: skip
    assert record["status"] == status
    return Run(
        record,
        logits,
        labels,
        np.array([f"e{i}" for i in range(n)]),
        [{"step": 0, "loss": 0.7, "lr": 1e-3, "gradient_norm": 1.5}],
        {pooling: rng.normal(size=(3, n, 8)).astype(np.float32) for pooling in poolings},
    )
