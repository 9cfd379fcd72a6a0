"""JSON of evaluation harnesses as tables: one row an example, with columns that say what they are.

Columns made here: ``example``, ``label`` (gold), ``prediction`` (the answer), ``logits`` (one
number a choice), and metrics of single examples under their own names, with right and wrong as 1
and 0. What is what:

lm-evaluation-harness  ``samples_*.jsonl`` of ``--log_samples``: ``filtered_resps`` are answers, or
                       a log-likelihood for each choice; ``filter`` stays a column
inspect_ai             .eval archives and .json logs: answers of the scorers
Every Eval Ever        instance-level samples: ``answer_attribution`` or ``output``
transformers           what a text-classification pipeline returns: ``label`` is the prediction
"""

import json
import zipfile
from collections.abc import Callable
from typing import Any

import pandas as pd

#: What inspect's scorers write for right, half right, wrong and no answer.
INSPECT = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}


def table_of(content: Any) -> pd.DataFrame:
    """The rows of parsed JSON: of a harness, a list of records, or columns by name."""
    if isinstance(content, dict):
        if isinstance(content.get("samples"), list):
            return pd.DataFrame([_inspect(sample) for sample in content["samples"]])
        return _of_named(content)
    if not content or not isinstance(content, list):
        raise ValueError("no list of rows in it")
    if all(isinstance(row, list) and row and isinstance(row[0], dict) for row in content):
        # All classes of each example, with top_k=None.
        return pd.DataFrame([{f"prob_{p['label']}": p["score"] for p in row} for row in content])
    if not isinstance(content[0], dict):
        return pd.DataFrame({"prediction": pd.Series(content, dtype=object)})
    if set(content[0]) == {"label", "score"}:
        rows = [{"prediction": row["label"], "score": row["score"]} for row in content]
        return pd.DataFrame(rows)
    kind: Callable[[dict], dict] = dict
    if "doc_id" in content[0] and ("filtered_resps" in content[0] or "resps" in content[0]):
        kind = _lm_eval
    elif "evaluation_id" in content[0] and isinstance(content[0].get("evaluation"), dict):
        kind = _every_eval_ever
    return pd.DataFrame([kind(row) for row in content])


def _of_named(content: dict) -> pd.DataFrame:
    """Columns by name, as lists or by example, or one level down; or one row of values."""
    parts = list(content.values())
    if content and all(isinstance(part, dict) and part.keys() == parts[0].keys() for part in parts):
        return pd.DataFrame(content, dtype=object).reset_index(names="index")
    for name, part in list(content.items()):
        content |= part if isinstance(part, dict) else {name: part}
    columns = {name: part for name, part in content.items() if isinstance(part, list)}
    if len({len(part) for part in columns.values()}) == 1:
        return pd.DataFrame({name: pd.Series(part, dtype=object) for name, part in columns.items()})
    values = {name: part for name, part in content.items() if isinstance(part, int | float)}
    if columns or not values:
        raise ValueError(f"no rows in it, only {', '.join(map(repr, list(content)[:5]))}")
    return pd.DataFrame([values])


def inspect_archive(archive: zipfile.ZipFile) -> pd.DataFrame:
    """The samples of a log of inspect_ai in its .eval format."""
    names = [name for name in archive.namelist() if name.startswith("samples/")]
    if not names:
        raise ValueError("no samples in it: the evaluation did not finish")
    return pd.DataFrame([_inspect(json.loads(archive.read(name))) for name in names])


def _inspect(sample: dict) -> dict:
    row = {"example": sample["id"], "epoch": sample.get("epoch", 1), "label": sample.get("target")}
    for name, score in (sample.get("scores") or {}).items():
        if score.get("answer") is not None:
            row.setdefault("prediction", score["answer"])
        row[name] = INSPECT.get(score.get("value"), score.get("value"))
    return row


def _lm_eval(record: dict) -> dict:
    row = {"example": record["doc_id"], "label": record.get("target")}
    row["filter"] = record.get("filter", "none")
    answers = record.get("filtered_resps", record.get("resps"))
    while isinstance(answers, list) and len(answers) == 1 and isinstance(answers[0], list | str):
        answers = answers[0]
    if isinstance(answers, str):
        row["prediction"] = answers.strip()
    elif isinstance(answers, list) and len(answers) > 1:
        # A pair for each choice: its log-likelihood, and whether greedy decoding writes it.
        pairs = [pair[0] if isinstance(pair, list) else pair for pair in answers]
        if all(isinstance(number, int | float) for number in pairs):
            row["logits"] = pairs
    metrics = record.get("metrics") or []
    return row | {name: record[name] for name in metrics if name in record}


def _every_eval_ever(record: dict) -> dict:
    given, output = record.get("input") or {}, record.get("output") or {}
    answers = [a["extracted_value"] for a in record.get("answer_attribution") or ()]
    answers = answers or output.get("raw") or []
    row = {"example": record["sample_id"], "label": "; ".join(given.get("reference") or ())}
    if answers or record.get("error"):
        row["prediction"] = str(answers[-1]).strip() if answers else None
    row["is_correct"] = float(record["evaluation"]["is_correct"])
    names = ("evaluation_id", "evaluation_name", "model_id")
    return row | {name: record.get(name) for name in names}
