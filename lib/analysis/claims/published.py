"""Claims on published numbers, and on the bounds of the theory."""

import itertools
from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from lib import measures, paths
from lib.analysis import consistency
from lib.analysis.claims.agreement import WITHOUT, kept, within_tasks
from lib.analysis.claims.claim import Estimate, claim
from lib.measures import comparison, intervals

#: Few methods have few orders, and a Bonferroni-adjusted p needs many draws.
N_SHUFFLES = 40_000
#: Columns of the printed table by measure.
PRINTED = {
    "sd": "sd_ddof0",
    "jsd": "I_jsd_nats",
    "kappa": "I_kappa_as_published",
    "pwd": "I_pwd",
    "cka": "I_cka_layer24",
    "op": "I_op_layer24",
}
#: Ties that printing with two decimals made, and the method that is truly the smaller of the two:
#: the authors' own heat maps show it.
TIES = {
    ("bert", "cola", "I_cka_layer24"): "reinit",
    ("bert", "mrpc", "I_op_layer24"): "mixout",
    ("roberta", "cola", "I_op_layer24"): "original",
}


@cache
def printed_measures(ties: str = "resolved") -> pd.DataFrame:
    """The printed table of methods, as printed or with three of its ties resolved."""
    table = pd.read_csv(paths.PUBLISHED / "paper1_imm_measures.csv")
    for (model, task, measure), method in TIES.items() if ties == "resolved" else ():
        chosen = (table["model"] == model) & (table["task"] == task) & (table["imm"] == method)
        table.loc[chosen, measure] -= 0.001
    return table


@cache
def recomputed_taus(ties: str = "resolved") -> pd.DataFrame:
    """Kendall's τ with exact p for each model, task and pair of measures, beside the printed."""
    keys, rows = ["model", "task", "measure_a", "measure_b"], []
    table = printed_measures(ties)
    for (model, task), part in table[table["task"] != "sst2"].groupby(["model", "task"]):
        for a, b in itertools.combinations(PRINTED, 2):
            tau, p = stats.kendalltau(part[PRINTED[a]], part[PRINTED[b]])
            rows.append((model, task, a, b, round(tau, 3), p))
    computed = pd.DataFrame(rows, columns=[*keys, "tau", "p"])
    printed = pd.read_csv(paths.PUBLISHED / "paper1_kendall_tau.csv")
    merged = computed.merge(printed, on=keys, how="outer", validate="one_to_one")
    return merged.assign(equal=np.isclose(merged["tau"], merged["kendall_tau"]))


@claim(side="within", margin=0.5, ties=("resolved", "as printed"))
def no_single_published_tau_is_significant(ties: str) -> Estimate:
    """How many of the exact p are below .05 after Holm."""
    p = recomputed_taus(ties)["p"].to_numpy()
    return Estimate.exactly(float((comparison.adjust(p) < 0.05).sum()), len(p))


@claim(null=0.999)
def published_taus_come_out_again() -> Estimate:
    """Share of the printed values that are reproduced once three ties are resolved."""
    table = recomputed_taus("resolved")
    return Estimate.exactly(float(table["equal"].mean()), len(table))


@cache
def _published_values() -> list[pd.DataFrame]:
    """By model and task, the printed measures of five methods, without kappa."""
    table = printed_measures()
    cells = table[table["task"] != "sst2"].groupby(["model", "task"])
    return [part[list(PRINTED.values())].set_axis(list(PRINTED), axis=1) for _, part in cells]


def mean_tau(
    rankings: Sequence[pd.DataFrame], one: str, others: Sequence[str], n_tests: int = 1
) -> Estimate:
    """Mean of Kendall's τ over tables (a row a method) of a measure with each of others; p of
    permuting the methods of that measure in each table, times the number of tests; the smallest
    mean τ that is seen, from the spread of the permuted ones.
    """
    rng, total = np.random.default_rng(0), []
    for table in rankings:
        values = table[one].to_numpy(float)
        shuffled = rng.permuted(np.tile(values, (N_SHUFFLES, 1)), axis=1)
        draws = np.vstack([values, shuffled])
        total += [consistency.kendall(draws, table[other].to_numpy(float)) for other in others]
    taus = np.mean(total, axis=0)
    p = min(1.0, n_tests * float(intervals.permutation_p(taus[1:], taus[0])))
    seen = stats.norm.ppf([1 - 0.025 / n_tests, 0.8]).sum() * taus[1:].std()
    return Estimate(float(taus[0]), np.nan, np.nan, len(rankings), p, min(1.0, float(seen)))


OF_PAIRS = ("pwd", "jsd", "cka", "op")
PAIRS = list(itertools.combinations(OF_PAIRS, 2))


@claim(pair=tuple(" ".join(pair) for pair in PAIRS))
def published_measures_of_pairs_rank_alike(pair: str) -> Estimate:
    """Mean τ over six tables of five methods, Bonferroni over the pairs of measures."""
    a, b = pair.split()
    return mean_tau(_published_values(), a, [b], len(PAIRS))


@claim(others=("all four", "predictions", "representations"))
def published_sd_ranks_alike(others: str) -> Estimate:
    """Mean τ of the SD with the measures of pairs, or some of them: one test each."""
    named = {"predictions": OF_PAIRS[:2], "representations": OF_PAIRS[2:]}.get(others, OF_PAIRS)
    return mean_tau(_published_values(), "sd", named)


@claim(null=0.999)
def published_kappa_is_disagreement() -> Estimate:
    """Share of the rows on which both agree within the rounding of what is printed."""
    table = printed_measures("as printed")
    n = table["n_test"]
    gap = (table["I_kappa_as_published"] - table["I_pwd"] * n / (n - 1)).abs()
    return Estimate.exactly(float((gap <= 0.5e-6 * (1 + n / (n - 1))).mean()), len(table))


def correlations_of(row: dict) -> pd.DataFrame:
    """A printed row of ten correlations as a table of six measures; kappa and pwd share theirs."""
    names = ["sd", "kappa", "pwd", "jsd", "cka", "op"]
    known = {frozenset(key[2:].split("~")): r for key, r in row.items() if key.startswith("r_")}
    at = ["kappa_pwd" if name in ("kappa", "pwd") else name for name in names]
    return pd.DataFrame([[known.get(frozenset((a, b)), 1.0) for b in at] for a in at], names, names)


@claim(needed=1.0, model=("bert", "roberta"), without=WITHOUT)
def agreement_rises_with_sd_published(model: str, without: str) -> Estimate:
    """r within tasks over the fifteen groups of a model in the printed bootstrap, without SST-2."""
    table = pd.read_csv(paths.PUBLISHED / "paper1_bootstrap_corr.csv")
    part = table[(table["run"] == "A") & (table["task"] != "sst2") & (table["model"] == model)]
    part = part.set_index(["task", "imm"])
    sd = kept(part["sd_10seeds_ddof0"], without)
    correlations = [correlations_of(row) for row in part.loc[sd.index].to_dict("records")]
    return within_tasks(sd, correlations, sd.index.get_level_values(0))


@cache
def _bert_base() -> tuple[pd.DataFrame, np.ndarray]:
    """Scores of 100 BERT-base runs of McCoy, Min & Linzen (2020), and right answers by example."""
    runs = pd.read_csv(paths.PUBLISHED / "mccoy_bert_base_100_runs.csv")
    counts = pd.read_csv(paths.PUBLISHED / "mccoy_mnli_correct_counts.csv")
    return runs, counts["n_correct_of_100"].to_numpy()


@claim(null=float(np.log(2)))
def bert_base_answers_differ_more_than_scores() -> Estimate:
    """Log ratio of the share of examples on which exactly one of two runs is right to the mean
    difference of their accuracies; the interval is of the latter alone.
    """
    runs, counts = _bert_base()
    accuracy = runs["mnli_dev_accuracy"].to_numpy()
    gap = measures.instability(np.abs(accuracy[:, None] - accuracy))
    flips = measures.flip_rate_from_counts(counts, len(runs)).mean()
    return Estimate(*np.log(flips / np.array([gap.value, gap.high, gap.low])), len(runs))


@claim()
def bert_base_seeds_change_accuracy_beyond_flips() -> Estimate:
    """SD of accuracy over seeds without the noise of the development set, in points."""
    runs, counts = _bert_base()
    spread = measures.seed_variance_from_counts(runs["mnli_dev_accuracy"].to_numpy(), counts)
    return Estimate(*(100 * np.array(spread.distribution[:3])), len(runs), spread.p)


HANS = (
    "overall",
    *(f"{of}_{kind}" for kind in ("nonentailed", "entailed")
      for of in ("lexical", "subsequence", "constituent")),
)  # fmt: skip


@claim(category=HANS)
def bert_base_generalises_less_alike(category: str) -> Estimate:
    """Log ratio of the SD of accuracy on HANS to that on MNLI."""
    runs, _ = _bert_base()
    ratio = comparison.spread_ratio(runs["mnli_dev_accuracy"], runs[f"hans_{category}"])
    return Estimate(*np.log(ratio[:3]), len(runs))


@claim(measure=("cka", "op", "svcca"))
def published_failed_runs_are_farther(measure: str) -> Estimate:
    """Mean difference of the printed curves of failed and successful runs in the top third of the
    layers, over the panels; two-sided sign test.
    """
    table = pd.read_csv(paths.PUBLISHED / "paper1_layers_success_failed.csv")
    curves = table.melt(["model", "task", "series"], var_name="layer", value_name="d").dropna()
    curves["layer"] = curves["layer"].str[1:].astype(int)
    curves[["measure", "group"]] = curves["series"].str.lower().str.split("_", expand=True)
    top = curves[(curves["measure"] == measure) & (curves["layer"] > 16)]
    index = ["model", "task", "layer"]
    wide = top.pivot_table(index=index, columns="group", values="d").dropna()
    part = (wide["fail"] - wide["succ"]).groupby(index[:2]).mean()
    p = stats.binomtest(int((part > 0).sum()), len(part)).pvalue
    mean = intervals.mean_interval(part.to_numpy(), method="jackknife")
    return Estimate.of(mean, float(p))


@claim(side="within", margin=0.5)
def no_bound_is_violated() -> Estimate:
    """Violations among all verified comparisons of all theorems."""
    table = pd.read_csv(paths.DATA / "benchmarks" / "bounds_verified.csv")
    return Estimate.exactly(float(table["violations"].sum()), int(table["comparisons"].sum()))
