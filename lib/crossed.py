"""Crossed designs in a table of runs: every init seed trained with every order seed."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib import measures
from lib.config import Setting

#: What may differ between settings that are compared over tasks.
TASK_FIELDS = ("task", "text_columns", "label_column")


@dataclass(frozen=True)
class Crossed:
    """The runs of one setting as a grid: row i an init seed, column j an order seed.

    ``scores``, ``status`` and ``failed`` are (I, J), or (I, J, K) with K dropout seeds in each
    cell. A run that diverged has no score; it counts as one that knows nothing: the majority
    class's accuracy, or 0 where the metric is not accuracy. ``failed`` includes such runs.
    """

    scores: np.ndarray
    status: np.ndarray
    init_seeds: tuple[int, ...]
    order_seeds: tuple[int, ...]
    dropout_seeds: tuple[int, ...]
    task: str
    metric: str
    majority: float
    hyperparameters: tuple

    @property
    def failed(self) -> np.ndarray:
        """True where a run is not ``ok``."""
        return self.status != "ok"

    @property
    def unscored(self) -> int:
        """How many runs diverged."""
        return int((self.status == "diverged").sum())


def crossed_groups(runs: pd.DataFrame) -> tuple[dict[str, Crossed], list[str]]:
    """The groups whose runs are a complete crossed design, and notes on those nearly so.

    Parameters
    ----------
    runs : the run table of a configuration (``lib.tables.read(results, "runs")``)

    Returns
    -------
    group → design; and a line a group in which seeds were crossed but runs are missing or there
    twice. Ordinary groups, in which every run has streams of its own, are passed over.
    """
    found, notes = {}, []
    for group, part in runs.groupby("group"):
        inits, orders = part["seed_init"].nunique(), part["seed_order"].nunique()
        pairs = part.groupby(["seed_init", "seed_order"]).size()
        shared = len(pairs) > max(inits, orders)
        if part["setting_id"].nunique() > 1 or min(inits, orders) < 2 or not shared:
            continue
        if len(pairs) < inits * orders or pairs.nunique() > 1 or _repeated(part):
            notes.append(
                f"{group}: {len(part)} runs of {inits} init and {orders} order seeds are no "
                "complete grid; train the runs that are missing, or remove those that are extra"
            )
            continue
        found[str(group)] = _grid(part)
    return found, notes


def _repeated(part: pd.DataFrame) -> bool:
    return bool(part.duplicated(["seed_init", "seed_order", "seed_dropout"]).any())


def _grid(part: pd.DataFrame) -> Crossed:
    part = part.sort_values(["seed_init", "seed_order", "seed_dropout"])
    first = part.iloc[0]
    inits, orders = (tuple(sorted(part[f"seed_{s}"].unique())) for s in ("init", "order"))
    shape = (len(inits), len(orders), len(part) // (len(inits) * len(orders)))
    shape = shape if shape[2] > 1 else shape[:2]
    nothing = first["majority"] if first["metric"] == "accuracy" else 0.0
    fields = [f.name for f in dataclasses.fields(Setting) if f.name not in TASK_FIELDS]
    return Crossed(
        scores=part["score"].astype(float).fillna(nothing).to_numpy().reshape(shape),
        status=part["status"].to_numpy(object).reshape(shape),
        init_seeds=tuple(map(int, inits)),
        order_seeds=tuple(map(int, orders)),
        dropout_seeds=tuple(map(int, sorted(part["seed_dropout"].unique()))),
        task=str(first["task"]),
        metric=str(first["metric"]),
        majority=float(first["majority"]),
        hyperparameters=tuple(str(first[name]) for name in fields),
    )


def design_table(designs: dict[str, Crossed]) -> pd.DataFrame:
    """A row a design: how many seeds of each stream, runs, failed and diverged ones, majority."""
    rows = {
        name: {
            "init": len(design.init_seeds),
            "order": len(design.order_seeds),
            "dropout": len(design.dropout_seeds),
            "runs": design.scores.size,
            "failed": int(design.failed.sum()),
            "diverged": design.unscored,
            "metric": design.metric,
            "majority": design.majority,
        }
        for name, design in designs.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("setting")


def failed_rates(design: Crossed, *, level: float = 0.95) -> pd.DataFrame:
    """Share of failed runs of each init seed and of each order seed, with the exact interval.

    Returns
    -------
    a row a ``source`` and ``seed``; ``failed``, ``runs``, ``rate``, ``low``, ``high``
    (``measures.failed_rate``). The runs of an init seed differ in their order seeds: the interval
    is for that init seed with all order seeds there could be.
    """
    rows = []
    sides = {"init": (design.init_seeds, 0), "order": (design.order_seeds, 1)}
    for source, (seeds, axis) in sides.items():
        for seed, runs in zip(seeds, np.moveaxis(design.failed, axis, 0), strict=True):
            found = measures.failed_rate(runs.ravel(), level=level)
            row = {"source": source, "seed": seed, "failed": int(runs.sum()), "runs": runs.size}
            rows.append({**row, "rate": found.value, "low": found.low, "high": found.high})
    return pd.DataFrame(rows).set_index(["source", "seed"])


def task_families(designs: dict[str, Crossed]) -> list[list[str]]:
    """Names of designs that differ only in the task, each task once, at least two of them.

    Such designs have the same seeds and hyperparameters, so a seed can be followed over tasks.
    """
    families: dict[tuple, dict[str, str]] = {}
    for name, design in designs.items():
        seeds = (design.init_seeds, design.order_seeds, design.dropout_seeds, design.scores.shape)
        families.setdefault((seeds, design.hyperparameters), {})[design.task] = name
    return [list(tasks.values()) for tasks in families.values() if len(tasks) > 1]


def seed_scores(designs: Iterable[Crossed]) -> dict[str, np.ndarray]:
    """Scores of the same seeds on m tasks, for ``lib.transfer.kendalls_w``.

    Returns
    -------
    ``init`` (m, I), the means over order seeds; ``order`` (m, J), over init seeds; ``run``
    (m, I, J), every init seed with every order seed. Dropout seeds are averaged.
    """
    grids = np.stack([d.scores.reshape(*d.scores.shape[:2], -1).mean(2) for d in designs])
    return {"init": grids.mean(2), "order": grids.mean(1), "run": grids}
