"""From the runs of a group to its tidy tables: who ran, what they said, how far apart they are.

Logits are rounded to float16 first, the precision they are committed in, so that anyone who
recomputes a measure from the committed logits gets the committed number.
"""

import argparse
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import softmax

from lib import measures, planning, resampling, runs, summary, tables
from lib.errors import argument
from lib.grids import load_grids
from lib.scoring import decide

POOLINGS = ("first", "mean")
#: Size of the sample of layer vectors that stays with a group's tables.
SAMPLE_RUNS, SAMPLE_EXAMPLES = 5, 200
#: Pairs of runs drawn for the chance level of the representation measures.
PERMUTATIONS = 20
#: Representation measures taken unless others are named.
MEASURES = ("svcca", "svcca_published", "op", "cka", "cka_biased")


def subsets(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Row numbers of all runs, of the successful and of the failed ones, where there are ≥ 2.

    Diverged runs count as failed; measures leave them out where they have no finite output.
    """
    ok = (table["status"] == "ok").to_numpy()
    chosen = {"all": np.arange(len(table)), "ok": np.flatnonzero(ok), "failed": np.flatnonzero(~ok)}
    return {name: rows for name, rows in chosen.items() if len(rows) >= 2}


def distance_tables(
    group: list[runs.Run], names: Sequence[str], device: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Distances of all pairs, and of unrelated pairs, at each layer.

    Layer 0 is missing from pooling ``first``: the embedding at position 0 is the same special
    token for every example, so there is nothing to compare.

    Returns
    -------
    distances : a row a measure, pooling, layer and pair (``run_a`` < ``run_b``, rows of the run
        table)
    chance : rows of subset ``chance`` for the table of measures: the mean over ``PERMUTATIONS``
        pairs of runs, one with its examples permuted, and as ``low`` and ``high`` the range of
        95 % of them. With N ≤ D only the debiased CKA is near 1 there.
    """
    pairs = np.triu_indices(len(group), 1)
    distances, chance = [], []
    for pooling in POOLINGS:
        vectors = [getattr(run, pooling) for run in group]
        if absent := [run for run, array in zip(group, vectors, strict=True) if array is None]:
            raise FileNotFoundError(
                f"{runs.name_of(absent[0])}: the layer vectors were deleted after an earlier "
                "measurement. Delete the run's folder to train it again, and set keep_vectors "
                "if you mean to measure more than once."
            )
        lowest = 1 if pooling == "first" else 0
        vectors = [array[lowest:] for array in vectors]
        with warnings.catch_warnings():
            # The chance level stands in the table.
            warnings.simplefilter("ignore", measures.SaturationWarning)
            found, unrelated = measures.distances_and_chance(
                vectors, names, n_permutations=PERMUTATIONS, device=device
            )
        for name in names:
            where = {"measure": name, "pooling": pooling}
            for layer, (matrix, drawn) in enumerate(
                zip(found[name], unrelated[name], strict=True), start=lowest
            ):
                ends = {"run_a": pairs[0], "run_b": pairs[1], "distance": matrix[pairs]}
                distances.append(pd.DataFrame({**where, "layer": layer, **ends}))
                drawn = drawn[~np.isnan(drawn)]
                if len(drawn):
                    reach = resampling.percentile_interval(drawn)
                    level = resampling.Interval(drawn.mean(), *reach, len(group))
                    at = {"pooling": pooling, "layer": layer, "subset": "chance"}
                    chance.append(_row("representation", name, level, **at))
    # Columns and types of its own: where all runs diverged, it has no row to get them from.
    words, numbers = ["granularity", "measure", "pooling", "subset"], ["value", "low", "high"]
    types = dict.fromkeys(words, str) | {"layer": "Int64"} | dict.fromkeys(numbers, float)
    chance = pd.DataFrame(chance, columns=[*types, "n_runs"]).astype(types | {"n_runs": int})
    return pd.concat(distances, ignore_index=True), chance


def _row(granularity: str, measure: str, interval: resampling.Interval, **where) -> dict:
    return {"granularity": granularity, "measure": measure, **where, **interval._asdict()}


def _performance_and_prediction(
    table: pd.DataFrame, logits: np.ndarray, labels: np.ndarray
) -> list[dict]:
    """Rows of measures; those of scores are over the runs that have one, and say how many not."""
    rows = []
    scores = table["score"].dropna().to_numpy(float)
    if len(scores) >= 2:
        for name, statistic in summary.statistics_of(scores=scores).items():
            interval = summary.interval_of(name, statistic, scores)
            needed = planning.needed_for(name, statistic, len(scores))
            rows.append(_row("performance", name, interval, seeds_needed=needed))
    known = {}
    if logits.shape[-1] > 1:
        known["predictions"] = decide(logits)
        known["probabilities"] = softmax(logits.astype(float), axis=-1)
        known["labels"] = labels
    for name, statistic in summary.statistics_of(**known).items():
        interval = summary.interval_of(name, statistic, len(table))
        needed = planning.needed_for(name, statistic, len(table))
        rows.append(_row(summary.MEANING[name][0], name, interval, seeds_needed=needed))
    return rows


def measure_table(
    table: pd.DataFrame, logits: np.ndarray, labels: np.ndarray, distances: pd.DataFrame
) -> pd.DataFrame:
    """A row a subset of runs and measure (a layer and pooling, for representations), with interval.

    ``kappa`` is the instability 1 − kappa; ``con`` and ``ccon`` are agreements, not distances.
    ``seeds_needed`` is the number of runs whose interval would be the value ± 20 % of it.
    ``n_failed`` counts among all runs of the subset; ``n_left_out`` are those without finite
    output, or for scores without a score, which no value and no ``n_runs`` includes.
    """
    rows = []
    for subset, members in subsets(table).items():
        finite = members[np.isfinite(logits[members]).all((1, 2))]
        counts = {
            "subset": subset,
            "n_failed": int((table["status"][members] != "ok").sum()),
            "n_left_out": len(members) - len(finite),
        }
        if len(finite) >= 2:
            chosen = table.iloc[finite].reset_index(drop=True)
            rows += [
                {**row, **counts, "n_left_out": len(members) - row["n_runs"]}
                for row in _performance_and_prediction(chosen, logits[finite], labels)
            ]
        for (name, pooling, layer), part in distances.groupby(["measure", "pooling", "layer"]):
            matrix = tables.distance_matrix(part, len(table))[np.ix_(members, members)]
            where = {"pooling": pooling, "layer": layer, **counts}
            rows.append(_row("representation", name, measures.instability(matrix), **where))
    result = pd.DataFrame(rows)
    result["layer"] = result["layer"].astype("Int64")
    return result


def tables_of(
    group: list[runs.Run], names: Sequence[str], device: str | None = None
) -> dict[str, pd.DataFrame]:
    """All tables of a group, by the names of ``lib.tables.TABLES``.

    ``device``: where distances of representations are computed, for example ``cuda``, from which
    only they come back; None is numpy.
    """
    table = tables.run_table(group)
    logits = np.stack([run.logits for run in group]).astype(np.float16).astype(np.float32)
    distances, chance = distance_tables(group, names, device)
    found = measure_table(table, logits, group[0].labels, distances)
    return {
        "runs": table,
        "examples": tables.example_table(group),
        "logits": tables.logit_table(group),
        "training": tables.training_table(group),
        "distances": distances,
        "measures": pd.concat([found, chance]).astype({"n_failed": "Int64", "n_left_out": "Int64"}),
    }


def sample_vectors(group: list[runs.Run]) -> np.ndarray:
    """(S, L + 1, N, D) float16: mean-pooled layer vectors of the first runs and examples.

    Small enough to keep with the tables, so that representations can be looked at later.
    """
    vectors = [run.mean[:, :SAMPLE_EXAMPLES] for run in group[:SAMPLE_RUNS]]
    return np.stack(vectors).astype(np.float16)


def main(arguments: list[str] | None = None) -> None:
    """Measure all groups of a configuration without Jupyter: ``python -m lib.groups CONFIG``."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.groups",
        description="Measure the groups of a configuration whose runs are trained.",
    )
    parser.add_argument(
        "config", type=argument(load_grids), help="name in config/ or path of a .yaml file"
    )
    parser.add_argument(
        "--device", help="cuda, cuda:1, …: compute distances there; else on the CPU"
    )
    options = parser.parse_args(arguments)
    for grid in load_grids(options.config):
        labels = [seeds.label for seeds in grid.seeds]
        for name, members in grid.groups.items():
            group = runs.load_group(members, labels)
            made = tables_of(group, MEASURES, options.device)
            tables.save_tables(grid.name, name, made, sample_vectors(group))
            print(f"{grid.name}/{name}: {len(group)} runs measured")


if __name__ == "__main__":
    main()
