"""From the runs of a group to its tidy tables, and from its tables to its measures again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from lib import measures, paths
from lib.config.grids import Grid
from lib.data import tasks
from lib.errors import nearest
from lib.measures import generation, scoring, summary
from lib.measures.representation import NAMES
from lib.results import run_group, runs, tables
from lib.results.run_group import RunGroup

#: Size of the sample of layer vectors that stays with a group's tables.
SAMPLE_RUNS, SAMPLE_EXAMPLES = 5, 200
#: Pairs of runs drawn for the chance level of the measures of representations and of texts.
PERMUTATIONS = 20
#: Measures of the tables of groups; the others are a look away from the scores.
_LEFT_OUT = ("failed", "iqm", "range", "best", "difference")
_NAMES = tuple(name for name in summary.MEASURES if name not in _LEFT_OUT)
_COLUMNS = [
    *("granularity", "measure", "seeds_needed", "value", "low", "high", "n_runs"),
    *("subset", "n_failed", "n_left_out", "pooling", "layer"),
]


def measure_table(group: RunGroup) -> pd.DataFrame:
    """The table of measures: ``run_group.measure`` of all runs, of the successful and of the failed
    ones (diverged runs among them), where there are two or more, and chance levels.

    ``n_failed`` counts among all runs of the subset; ``n_left_out`` are those without finite
    output, or for scores without a score, which no value and no ``n_runs`` includes.
    """
    everyone = np.ones(len(group), bool)
    subsets = {"all": everyone, "ok": ~group.failed, "failed": group.failed}
    parts = []
    for subset, members in subsets.items():
        if members.sum() < 2:
            continue
        part = group.take(members)
        table = run_group.measure(part, _NAMES)
        counts = {"n_failed": int(part.failed.sum()), "n_left_out": len(part) - table["n_runs"]}
        parts.append(table.assign(subset=subset, **counts))
    parts.append(run_group.chance_levels(group).assign(subset="chance"))
    table = pd.concat(parts, ignore_index=True).reindex(columns=_COLUMNS)
    return table.astype({"n_failed": "Int64", "n_left_out": "Int64"})


def measure_again(group: RunGroup, before: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run table and measures of a stored group, made from its logits and distances.

    The chance level of representations needs the layer vectors, so its rows in the table of
    measures ``before`` stay as they are.
    """
    scored = run_group.score_runs(group)
    table = pd.concat([measure_table(scored), before[before["subset"] == "chance"]])
    return scored.runs, table[_COLUMNS].astype(before.dtypes[_COLUMNS])


def distance_table(group: RunGroup) -> pd.DataFrame:
    """A row a measure, pooling, layer and pair of runs ``run_a`` < ``run_b``, by their rows."""
    a, b = np.triu_indices(len(group), 1)
    parts = []
    for (measure, pooling), stack in group.distances.items():
        for layer, distances in zip(group.layers[pooling], stack, strict=True):
            where = {"measure": measure, "pooling": pooling, "layer": layer, "run_a": a, "run_b": b}
            parts.append(pd.DataFrame(where | {"distance": distances[a, b].astype(np.float32)}))
    return pd.concat(parts, ignore_index=True)


def tables_of(
    group: list[runs.Run], names: Sequence[str] = NAMES, device: str | None = None
) -> dict[str, pd.DataFrame]:
    """All tables of a group, by the names of ``lib.results.tables.TABLES``.

    ``device``: where distances of representations are computed, for example ``cuda``, from which
    only they come back; None is numpy.
    """
    scored = run_group.score_runs(RunGroup.of_runs(group))
    whole = scored.with_distances(names, n_permutations=PERMUTATIONS, device=device)
    more = {}
    if group[0].generated:
        each = text_distances_by_input(group)
        apart = text_distances(group, each)
        layers = {pooling: np.array([0]) for _, pooling in apart}
        whole = replace(
            whole,
            distances=whole.distances | apart,
            chance=whole.chance | text_chance(group),
            layers=whole.layers | layers,
        )
        shown = tasks.table_of(group[0].record["setting"]["task"]) is not None
        more[tables.TEXTS] = tables.text_table(group, shown=shown)
        more[tables.TEXT_PAIRS] = text_pair_table(each)
    return more | {
        "runs": whole.runs,
        "examples": pd.DataFrame({"example_id": group[0].example_ids, "label": group[0].labels}),
        "logits": tables.logit_table(group),
        "training": tables.training_table(group),
        "distances": distance_table(whole),
        "measures": measure_table(whole),
    }


def _finite(group: list[runs.Run]) -> np.ndarray:
    """Numbers of the runs that did not diverge."""
    return np.flatnonzero([np.isfinite(run.logits).all() for run in group])


def _of_all(each: np.ndarray, rows: np.ndarray, n_runs: int) -> np.ndarray:
    """Distances (…, S, S) of all runs from those of ``rows``; the others' are NaN."""
    whole = np.full((*each.shape[:-2], n_runs, n_runs), np.nan)
    whole[..., rows[:, None], rows] = each
    return whole


def text_distances_by_input(group: list[runs.Run]) -> dict[tuple[str, str], np.ndarray]:
    """By measure and, in the place of a pooling, what it is of, distances (N, S, S) of runs that
    generate texts; NaN for a diverged run. Of fewer than two others there are none.

    ``greedy`` and ``sampled``: of texts by either way of decoding, sampled ones of two runs with
    different decoding seeds, mean over pairs of these; ``teacher-forced``: of the predictions of
    the tokens of a reference.
    """
    rows = _finite(group)
    if len(rows) < 2:
        return {}
    generated = [group[row].generated for row in rows]
    texts = [own["texts"][0].tolist() for own in generated]
    names = ("different", "edit_distance", "rouge_distance")
    found = {(name, "greedy"): generation.by_input(name, texts) for name in names}
    for name, kind in (("disagreement", "tokens"), ("jsd", "probabilities")):
        outputs = np.stack([own[kind] for own in generated])
        found[f"token_{name}", "teacher-forced"] = generation.by_example(
            getattr(measures, f"pairwise_{name}"), outputs, generated[0]["lengths"]
        )
    sampled = [own["texts"][1:] for own in generated]
    n_sampled, every = len(sampled[0]), [texts.tolist() for own in sampled for texts in own]
    apart = ~np.eye(n_sampled, dtype=bool)
    for name in ("different", "edit_distance"):
        whole = generation.by_input(name, every)
        blocks = whole.reshape(-1, len(rows), n_sampled, len(rows), n_sampled)
        own = found[name, "sampled"] = blocks.swapaxes(2, 3)[..., apart].mean(-1)
        own[:, np.arange(len(rows)), np.arange(len(rows))] = 0
    return {key: _of_all(each, rows, len(group)) for key, each in found.items()}


def text_distances(
    group: list[runs.Run], each: Mapping[tuple[str, str], np.ndarray]
) -> dict[tuple[str, str], np.ndarray]:
    """(1, S, S) means over inputs of ``each``, those of ``text_distances_by_input``, and what is no
    such mean: BLEU of all texts, and the slots that are put into words.
    """
    rows, found = _finite(group), {key: stack.mean(0) for key, stack in each.items()}
    if not each:
        return {}
    texts = [group[row].generated["texts"][0].tolist() for row in rows]
    more = {"bleu_distance": measures.pairwise_bleu_distance(texts)}
    if "slots" in group[0].generated:
        realised = np.stack([group[row].generated["slots"] for row in rows])
        more["slot_distance"] = measures.pairwise_slot_distance(realised)
    for name, matrix in more.items():
        found[name, "greedy"] = _of_all(matrix, rows, len(group))
    return {key: matrix[None] for key, matrix in found.items()}


def text_chance(group: list[runs.Run]) -> dict[tuple[str, str], np.ndarray]:
    """By measure and ``greedy``, (1, K) distances of texts for unrelated inputs: K pairs of runs,
    one with its inputs permuted.
    """
    rows, rng = _finite(group), np.random.default_rng(0)
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(PERMUTATIONS if len(rows) > 1 else 0):
        one, two = (group[row].generated["texts"][0] for row in rng.choice(rows, 2, replace=False))
        texts = [one.tolist(), rng.permutation(two).tolist()]
        for name, measure in generation.distances().items():
            found.setdefault((name, "greedy"), []).append(measure(texts)[0, 1])
    return {key: np.array([drawn]) for key, drawn in found.items()}


def text_pair_table(each: Mapping[tuple[str, str], np.ndarray]) -> pd.DataFrame:
    """A row a pair of runs, ``run_a`` < ``run_b`` by their rows, and example, in the order of the
    example table, with what ``text_distances_by_input`` has for it, in float16.
    """
    n, n_runs, _ = next(iter(each.values()), np.empty((0, 0, 0))).shape
    a, b = np.triu_indices(n_runs, 1)
    pairs = {"run_a": np.repeat(a, n), "run_b": np.repeat(b, n)}
    # Which texts are different the hashes of the texts say.
    columns = {
        f"sampled_{name}" if of == "sampled" else name: stack
        for (name, of), stack in each.items()
        if name != "different"
    }
    return pd.DataFrame(pairs | {
        name: stack[:, a, b].T.ravel().astype(np.float16) for name, stack in columns.items()
    })  # fmt: skip


def sample_vectors(group: list[runs.Run]) -> np.ndarray:
    """(S, L + 1, N, D) float16: mean-pooled layer vectors of the first runs and examples.

    Small enough to keep with the tables, so that representations can be looked at later.
    """
    vectors = [run.vectors["mean"][:, :SAMPLE_EXAMPLES] for run in group[:SAMPLE_RUNS]]
    return np.stack(vectors).astype(np.float16)


def check_stored(name: str) -> str:
    """The name of results; an error if there are no groups in them."""
    if not any(paths.results(name).glob("**/logits.parquet")):
        valid = nearest(name, tables.committed())
        raise ValueError(f"no groups in {paths.results(name)}: {valid}")
    return name


def measure_stored(name: str) -> None:
    """Measure the groups of ``data/results/<name>`` again, from their logits and distances."""
    before = dict(iter(tables.read_stored(name, "measures").groupby("group")))
    for key, group in run_group.read(name).items():
        table, measures = measure_again(group, before[key])
        tables.update_measures(name, key, table, measures)
        print(f"{name}/{key}: {len(table)} runs measured again")
        if kept := set(scoring.GROUPED) & set(table["metric"]):
            print(f"  {', '.join(kept)}: as stored, for the questions are not")
    if (paths.results(name) / tables.MADE).exists():
        tables.pack(name, list(before))


def measure_trained(grids: Sequence[Grid], device: str | None) -> None:
    """Measure the groups of grids whose runs are trained; ``device`` as in ``tables_of``."""
    for grid in grids:
        labels = [seeds.label for seeds in grid.seeds]
        for name, members in grid.groups.items():
            group = runs.load_group(members, labels)
            frames = tables_of(group, device=device)
            tables.save_tables(grid.name, name, frames, sample_vectors(group))
            print(f"{grid.name}/{name}: {len(group)} runs measured")
