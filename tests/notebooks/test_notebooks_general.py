"""The analysis notebooks on results of another kind than the reference, as a user's grid makes."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from support.project import run_python

from lib import paths
from lib.config import Setting
from lib.measures import scoring
from lib.results import group_tables, tables
from lib.results.runs import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(r"ignore:run \d, layer:UserWarning"),
]

NOTEBOOKS = [
    "00_index",
    "11_separate_sources_of_randomness",
    "13_diagnose_failed_runs",
    "20_measure_scores_and_predictions",
    "21_measure_representations",
    "22_compare_macro_and_micro",
    "50_paper_figures",
]
BASE = Setting(task="nyt")


def fake_log(rng, steps=50):
    """A training log with the gradients of every part, as real runs have it."""
    parts = ("", "_embeddings", "_layer1", "_layer2", "_head")
    norms = {f"gradient_norm{part}": rng.lognormal(size=steps) for part in parts}
    log = {"step": np.arange(steps), "lr": np.zeros(steps), "loss": rng.random(steps), **norms}
    return pd.DataFrame(log).to_dict("records")


def fake_group(
    setting, *, metric="accuracy", n_classes=2, n_layers=3, diverged=(), collapsed=(), n=40, seeds=3
):
    """Runs with invented logits, logs and vectors, through the real tables."""
    made = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, n_layers, n_classes])
        labels = rng.random(n).astype(np.float32) if n_classes == 1 else np.arange(n) % n_classes
        logits = rng.normal(size=(n, n_classes)).astype(np.float32)
        logits[:, -1] += labels
        vectors = [rng.normal(size=(n_layers, n, 8)).astype(np.float32) for _ in range(2)]
        log = fake_log(rng)
        if seed in collapsed:
            logits[:, 0] = 9.0
        if seed in diverged:
            log[30]["loss"] = np.nan
            log = log[:31]
            logits[:] = np.nan
            vectors = [np.full_like(array, np.nan) for array in vectors]
        distance = {"all": 2.0, "embeddings": 1.0, "layer1": 1.0 + seed, "layer2": 1.0, "head": 0.0}
        record = {
            "setting_id": setting.id, "setting": setting.to_dict(), "seed": seed,
            "seed_init": seed, "seed_order": seed, "seed_dropout": seed,
            "seed_label": f"seed{seed}", "distance": distance, "newly_initialised": [],
            "versions": {"python": "3"}, "fingerprint": f"{setting.id}{seed}", "classes": [],
            "warnings": [], "data_sha256": "d", "n_train": 10, "n_eval": n, "device": "cpu",
            "threads": 1, "code": "c", **scoring.score_run(labels, logits, metric),
        }  # fmt: skip
        ids = np.array([f"e{i}" for i in range(n)])
        made.append(
            Run(
                record, logits, labels, ids, log, dict(zip(("first", "mean"), vectors, strict=True))
            )
        )
    return made


def write(name, *made):
    for group in made:
        frames = group_tables.tables_of(group)
        folder = group[0].record["setting_id"]
        tables.save_tables(name, folder, frames, group_tables.sample_vectors(group))


def one_setting():
    return [fake_group(BASE)]


def many_settings():
    rates = [1e-5 * 2**i for i in range(8)]
    return [fake_group(dataclasses.replace(BASE, learning_rate=rate)) for rate in rates]


def one_ladder():
    """From no failed run to failures only, with diverged runs among them."""
    failures = {1e-4: {}, 3e-4: {"collapsed": [1, 3]}, 1e-3: {"collapsed": [0, 1], "diverged": [4]}}
    return [
        fake_group(dataclasses.replace(BASE, learning_rate=rate), seeds=5, **failed)
        for rate, failed in failures.items()
    ]


def mixed():
    """Regression, F1, MCC, three classes, a diverged run, two depths: all in one configuration."""
    return [
        fake_group(Setting(task="stsb"), metric="pearson", n_classes=1),
        fake_group(Setting(task="mrpc"), metric="f1"),
        fake_group(Setting(task="cola"), metric="mcc", n_layers=7),
        fake_group(Setting(task="nyt"), metric="macro-f1", n_classes=3),
        fake_group(Setting(task="amazon")),
        fake_group(Setting(task="boolq"), diverged=[1]),
    ]


@pytest.mark.parametrize(
    "kind", [one_setting, many_settings, one_ladder, mixed], ids=lambda kind: kind.__name__
)
def test_every_analysis_runs(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    write(kind.__name__, *kind())
    done = run_python(
        str(paths.ROOT / "tests/support/execute_notebooks.py"), kind.__name__,
        *(str(paths.ROOT / f"notebooks/{notebook}.ipynb") for notebook in NOTEBOOKS),
        COMPENDIUM_OUTPUT=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    drawn = {path.stem for path in (tmp_path / "figures" / kind.__name__).glob("*.svg")}
    assert {"20_measures", "21_layers", "22_macro_micro", "50_seeds", "50_agreement"} <= drawn
    assert ("13_gradients" in drawn) == (kind is one_ladder)
