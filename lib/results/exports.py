"""Runs in the schemas of Every Eval Ever (of its package every-eval-ever, version 0.3.0).

A run is two files in the folder of its setting: ``<seed>_samples.jsonl``, a line an example, and
``<seed>.json``, what was trained and how it scored. Texts of data sets are not ours to ship:
``input.raw``, which the schema requires, is the id of the example, and ``metadata`` says so.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import paths
from lib.results import run_group
from lib.results.run_group import RunGroup

SCHEMA, PROJECT = "0.3.0", "finetuning-instability"


def export(name: str, target: Path) -> Iterator[str]:
    """Write the runs of ``data/results/<name>`` to ``<target>/<setting>/``, replacing the folders
    of these settings, and yield a line on each.

    A diverged run has samples without answers, with an ``error``. Regression is left out.
    """
    for key, whole in run_group.read(name).items():
        if not whole.classes:
            yield f"{key}: left out, for the schema asks of each answer whether it is correct"
            continue
        for setting, rows in whole.runs.groupby("setting_id", sort=False):
            group = whole.take(rows.index)
            with paths.atomic_folder(target / setting) as fresh:
                for number, label in enumerate(group.runs["seed_label"]):
                    record = _record(group.runs.iloc[number].to_dict())
                    written = json.dumps(record, indent=1, allow_nan=False)
                    (fresh / f"{label}.json").write_text(written + "\n")
                    lines = (json.dumps(line) + "\n" for line in _samples(group, number, record))
                    (fresh / f"{label}_samples.jsonl").write_text("".join(lines))
            yield f"{setting}: {len(group)} runs on {len(group.example_ids)} examples"


def _record(run: dict[str, Any]) -> dict[str, Any]:
    """The aggregate record of a row of ``runs``, all of which is in it as texts."""
    known = {name: value for name, value in run.items() if np.any(pd.notna(value))}
    arrays = {name: list(value) for name, value in known.items() if isinstance(value, np.ndarray)}
    told = {name: str(value) for name, value in (known | arrays).items()}
    # Nobody keeps the weights of a run.
    told |= {"deployment_type": "self_deployed", "model_availability": "closed_weights"}
    model, task = f"{run['setting_id']}.{run['seed_label']}", run["task"]
    evaluation = f"{task}/{model}/{run['fingerprint']}"
    data = {"dataset_name": task, "source_type": "other"}
    data["additional_details"] = {name: told[name] for name in ("eval_split", "data_sha256")}
    scores = {"accuracy": run["accuracy"], run["metric"]: run["score"]}
    results = [
        {
            "evaluation_result_id": f"{evaluation}/{metric}",
            "evaluation_name": task,
            "source_data": data,
            "metric_config": {"metric_id": metric, "lower_is_better": False},
            "score_details": {"score": score},
        }
        for metric, score in (scores | json.loads(run["other_scores"])).items()
        if pd.notna(score)
    ]
    return {
        "schema_version": SCHEMA,
        "evaluation_id": evaluation,
        "retrieved_timestamp": str(int(time.time())),
        "source_metadata": {
            "source_type": "evaluation_run",
            "source_organization_name": PROJECT,
            "evaluator_relationship": "first_party",
        },
        "eval_library": {"name": PROJECT, "version": told["commit"]},
        "model_info": {"name": model, "id": f"{PROJECT}/{model}", "additional_details": told},
        "evaluation_results": results,
    }


def _samples(group: RunGroup, number: int, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A record an example. Answers are numbers of classes, whose names are in ``metadata``."""
    run, lost = group.runs.iloc[number], not np.isfinite(group.logits[number]).all()
    classes = json.dumps([str(name) for name in run["classes"]])
    how = {"turn_idx": 0, "source": "output.raw", "extraction_method": "argmax"}
    answers = group.predictions[number]
    for example, gold, answer in zip(group.example_ids, group.labels, answers, strict=True):
        said, right = [] if lost else [str(answer)], bool(answer == gold) and not lost
        given = {"raw": str(example), "reference": [str(gold)], "choices": list(group.classes)}
        yield {
            "schema_version": SCHEMA,
            "evaluation_id": record["evaluation_id"],
            "model_id": record["model_info"]["id"],
            "evaluation_name": run["task"],
            "evaluation_result_id": f"{record['evaluation_id']}/accuracy",
            "sample_id": str(example),
            "interaction_type": "single_turn",
            "input": given,
            "output": {"raw": said},
            "answer_attribution": [how | {"extracted_value": a, "is_terminal": True} for a in said],
            "evaluation": {"score": float(right), "is_correct": right},
            "error": "diverged: outputs that are not finite are no answers" if lost else None,
            "metadata": {"input.raw": "an id, for the text is not shipped", "classes": classes},
        }
