"""The report as text: what a paper, a pull request or a program needs."""

import hashlib
import json
import string
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib import provenance
from lib.measures import Interval
from lib.report.columns import Taken
from lib.report.comparing import Compared
from lib.report.measuring import MeasuredRuns

#: Measures of the row, by the heading of their column.
ROW = {
    "failed": "failed", "mean": "mean", "sd": "SD", "disagreement": "disagreement",
    "difference": "difference", "jsd": "JSD", "kappa": "1 − κ",
}  # fmt: skip


def as_json(measured: MeasuredRuns, taken: Taken, compared: Compared | None = None) -> str:
    """``n_runs``, ``n_examples``, ``task``, ``metric``, ``taken`` (``runs``, ``labels``,
    ``ignored``), ``notes``, and ``measures``: by name, as in measures.csv, ``value``, ``low``,
    ``high`` (null where there is none); those of layers by name and layer, such as ``cka:2``. Of a
    comparison, ``comparison``: by quantity (of several settings: ``mean, a, b``) ``value``,
    ``low``, ``high``, ``p``; and ``compared``, in words.
    """
    group = measured.group
    task = "classification" if group.classes else "regression"
    table = measured.table
    layers = ["" if pd.isna(layer) else f":{layer}" for layer in table["layer"]]
    table = table.set_axis(table["measure"] + layers)
    content = {
        "n_runs": len(group),
        "n_examples": len(group.example_ids),
        "task": task if group.example_ids else "scores",
        "metric": measured.metric,
        "taken": {"runs": taken.runs, "labels": taken.labels, "ignored": taken.ignored},
        "notes": list(group.notes),
        "measures": _plain(table[["value", "low", "high", "seeds_needed"]]),
    }
    if compared is not None:
        columns = ["value", "low", "high", "p"]
        content["comparison"] = _plain(compared.table.reindex(columns=columns))
        content["compared"] = compared.sentences
    return json.dumps(content, indent=1, ensure_ascii=False)


def _plain(table: pd.DataFrame) -> dict[str, dict[str, float | str | None]]:
    """Rows by name, in numbers that JSON has; null for NaN, and "inf" for what no number of runs
    reaches.
    """
    table = table.astype(float).astype(object).where(table.notna(), None).replace(np.inf, "inf")
    rows = table.T.to_dict()
    return {name if isinstance(name, str) else ", ".join(name): rows[name] for name in rows}


def cells(measured: MeasuredRuns) -> dict[str, str]:
    """The row of a table of results, by heading."""
    group, table = measured.group, measured.table.drop_duplicates("measure").set_index("measure")
    row = {"runs": str(len(group))}
    for name, heading in ROW.items():
        if name == "failed" and name in table.index:
            row[heading] = f"{round(table.loc[name, 'value'] * len(group))}"
        elif name in table.index and np.isfinite(table.loc[name, "value"]):
            shown = {"mean": measured.metric, "sd": f"SD of {measured.metric}"}.get(name, heading)
            row[shown] = Interval(*table.loc[name, ["value", "low", "high"]], 0).text(3)
    return row


def sentence(measured: MeasuredRuns) -> str:
    """For the text of a paper: runs, failed runs, spread and disagreement with intervals."""
    row, group = cells(measured), measured.group
    parts = [f"{row.pop('runs')} runs that differ in the seed"]
    if group.example_ids:
        parts[0] += f" were compared on {len(group.example_ids)} examples"
    if "failed" in row:
        parts.append(f"{row.pop('failed')} failed")
    parts += [f"{heading} {text}" for heading, text in row.items()]
    return f"{', '.join(parts)} (value [{100 * measured.level:g} % interval])."


def reproducibility(measured: MeasuredRuns) -> str:
    """What somebody else needs for the same numbers: which runs, on what, measured with what."""
    group = measured.group
    out = f"Left out: {', '.join(group.left_out) or 'none'}"
    if "status" in group.runs:
        failed = group.runs.loc[group.failed, "run"]
        out += f"; failed: {', '.join(failed) or 'none'}"
    name = "predictions" if group.example_ids else "scores"
    what = getattr(group, name)
    digest = hashlib.sha256(np.ascontiguousarray(what).tobytes()).hexdigest()[:12]
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions().items())
    read = " ".join([group.source, *group.notes])
    return f"{read} {out}. The sha256 of these {name} begins with {digest}. Made with {versions}."


def as_markdown(*settings: MeasuredRuns, compared: Compared | None = None) -> str:
    """A row for each setting (A, B, …, where there are several), and what is said of them."""
    table, texts = _parts(settings, compared)
    rows = [list(table), ["---"] * table.shape[1], *table.to_numpy()]
    return "\n\n".join(["\n".join(f"| {' | '.join(row)} |" for row in rows), *texts])


def as_latex(*settings: MeasuredRuns, compared: Compared | None = None) -> str:
    """The same, for booktabs."""
    table, texts = _parts(settings, compared)
    written = table.map(_tex).rename(columns=_tex).to_latex(index=False)
    return "\n".join([written, *(f"% {_tex(text)}" for text in texts)])


def _parts(
    settings: Sequence[MeasuredRuns], compared: Compared | None
) -> tuple[pd.DataFrame, list[str]]:
    """The table, and the paragraphs after it."""
    rows, said, again = [], [], []
    for letter, one in zip(string.ascii_uppercase, settings, strict=False):
        name = f"{letter}: " * (len(settings) > 1)
        rows.append(({"setting": letter} if name else {}) | cells(one))
        said.append(name + sentence(one))
        again.append(name + reproducibility(one))
    found = compared.sentences if compared else []
    return pd.DataFrame(rows).fillna(""), [*said, *found, *again]


def _tex(text: str) -> str:
    for mark, written in {"−": "$-$", "κ": "$\\kappa$", "%": "\\%", "_": "\\_", "&": "\\&"}.items():
        text = text.replace(mark, written)
    return text


FORMATS = {
    "json": lambda taken, *settings, compared: as_json(settings[0], taken, compared),
    "markdown": lambda taken, *settings, compared: as_markdown(*settings, compared=compared),
    "latex": lambda taken, *settings, compared: as_latex(*settings, compared=compared),
}
