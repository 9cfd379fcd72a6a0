"""From the runs of a group to its tidy tables: who ran, what they said, how far apart they are.

Logits are rounded to float16 first, the precision they are committed in, so that anyone who
recomputes a measure from the committed logits gets the committed number.
"""

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from lib import measures, paths, planning, resampling, runs, scoring, summary, tables
from lib.errors import nearest
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


def score_runs(table: pd.DataFrame, logits: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """The run table with the scores and status that each run's stored logits (S, N, C) have.

    Metrics of questions with several rows stay as they are: which rows belong together is not
    stored.
    """
    rows = []
    for run, own in zip(table.to_dict("records"), logits, strict=True):
        stored = {run["metric"]: run["score"], **json.loads(run["other_scores"])}
        metrics = [name for name in stored if name not in scoring.GROUPED] or ["accuracy"]
        result = scoring.judge(
            labels,
            own,
            metrics[0],
            diverged=run["status"] == "diverged",
            other_metrics=metrics[1:],
        )
        values = stored | {metrics[0]: result["score"]} | result["other_scores"]
        others = {name: values[name] for name in stored if name != run["metric"]}
        scores = {"score": values[run["metric"]], "other_scores": json.dumps(others)}
        rows.append({name: result[name] for name in ("status", "accuracy", "majority")} | scores)
    scored = pd.DataFrame(rows, index=table.index)
    return table.assign(**{name: scored[name].astype(table[name].dtype) for name in scored})


def measure_again(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run table and measures of a group, made from its stored logits and distances.

    The chance level of representations needs the layer vectors, so its rows stay as they are.
    """
    stored = tables.outputs(folder)
    table = score_runs(stored.runs, stored.logits, stored.labels)
    distances = pd.read_parquet(folder / "distances.parquet")
    found = measure_table(table, stored.logits, stored.labels, distances)
    before = pd.read_parquet(folder / "measures.parquet")
    return table, pd.concat([found, before[before["subset"] == "chance"]])[list(before)].astype(
        before.dtypes
    )


def tables_of(
    group: list[runs.Run], names: Sequence[str], device: str | None = None
) -> dict[str, pd.DataFrame]:
    """All tables of a group, by the names of ``lib.tables.TABLES``.

    ``device``: where distances of representations are computed, for example ``cuda``, from which
    only they come back; None is numpy.
    """
    logits = np.stack([run.logits for run in group]).astype(np.float16).astype(np.float32)
    table = score_runs(tables.run_table(group), logits, group[0].labels)
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


def measure_stored(name: str) -> None:
    """Measure all groups of results again, from what is stored of them (``measure_again``)."""
    for folder in _stored_groups(name):
        table, found = measure_again(folder)
        tables.update_measures(folder, table, found)
        print(f"{name}/{folder.name}: {len(table)} runs measured again")
        if kept := set(scoring.GROUPED) & set(table["metric"]):
            print(f"  {', '.join(kept)}: as stored, for the questions are not")


def _stored_groups(name: str) -> list[Path]:
    """The folders of the groups of results that have logits."""
    folders = sorted(path.parent for path in paths.results(name).glob("*/logits.parquet"))
    if not folders:
        raise ValueError(f"no groups in {paths.results(name)}: {nearest(name, committed())}")
    return folders


def committed() -> list[str]:
    """Names of the committed results that hold groups of runs."""
    return sorted({path.parents[1].name for path in paths.COMMITTED.glob("*/*/logits.parquet")})


def measure_trained(configuration: str, device: str | None = None) -> None:
    """Measure all groups of a configuration from its runs and their layer vectors."""
    for grid in load_grids(configuration):
        labels = [seeds.label for seeds in grid.seeds]
        for name, members in grid.groups.items():
            group = runs.load_group(members, labels)
            made = tables_of(group, MEASURES, device)
            tables.save_tables(grid.name, name, made, sample_vectors(group))
            print(f"{grid.name}/{name}: {len(group)} runs measured")


def main(arguments: list[str] | None = None) -> None:
    """``python -m lib.groups CONFIG`` and ``python -m lib.groups --again [RESULTS ...]``."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.groups",
        description="Measure the groups of a configuration whose runs are trained.",
        usage="%(prog)s [-h] [--device DEVICE] CONFIG\n       %(prog)s [-h] --again [RESULTS ...]",
    )
    parser.add_argument("names", nargs="*", help="CONFIG: name in config/ or path of a .yaml file")
    parser.add_argument(
        "--device", help="cuda, cuda:1, …: compute distances there; else on the CPU"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="measure groups in data/results/RESULTS (default: all committed ones) again, from "
        "their logits and distances",
    )
    options = parser.parse_args(arguments)
    if not options.again and len(options.names) != 1:
        parser.error("name one configuration, or measure --again what is stored")
    check = _stored_groups if options.again else load_grids
    try:
        for name in options.names:
            check(name)
    except ValueError as error:
        parser.error(str(error))
    if options.again:
        for name in options.names or committed():
            measure_stored(name)
    else:
        measure_trained(options.names[0], options.device)


if __name__ == "__main__":
    main()
