"""Claims on published numbers, and on the theory and the methods that it proposes."""

import itertools
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from lib import measures, paths
from lib.analysis import consistency
from lib.analysis.claims.agreement import smallest_tau
from lib.analysis.claims.claim import Estimate, claim
from lib.analysis.claims.scores import groups
from lib.measures import comparison, intervals
from lib.measures.intervals import Interval
from lib.theory import claims as theory_claims

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
def no_single_published_tau_is_told(ties: str) -> Estimate:
    """How many of the exact p are below .05 after Holm."""
    p = recomputed_taus(ties)["p"].to_numpy()
    return Estimate.exactly(float((comparison.adjust(p) < 0.05).sum()), len(p))


@claim(null=0.999)
def published_taus_come_out_again() -> Estimate:
    """Share of the printed values that are reproduced once three ties are resolved."""
    table = recomputed_taus("resolved")
    return Estimate.exactly(float(table["equal"].mean()), len(table))


@cache
def _together() -> pd.DataFrame:
    kept = {name: column for name, column in PRINTED.items() if name != "kappa"}
    table = printed_measures()
    cells = table[table["task"] != "sst2"].groupby(["model", "task"])
    tables = [part[list(kept.values())].set_axis(list(kept), axis=1) for _, part in cells]
    taus = consistency.mean_rank_agreement(tables)
    return taus.assign(adjusted=comparison.adjust(taus["p"].to_numpy())).set_index(["a", "b"])


def _published_tau(a: str, b: str) -> Estimate:
    row = _together().loc[(a, b) if (a, b) in _together().index else (b, a)]
    seen = smallest_tau(5, 6, len(_together()))
    return Estimate(row["tau"], np.nan, np.nan, 6, row["adjusted"], seen)


@claim(pair=tuple(f"{a} {b}" for a, b in itertools.combinations(("jsd", "pwd", "cka", "op"), 2)))
def published_measures_of_pairs_rank_alike(pair: str) -> Estimate:
    """Mean τ over six tables of five methods, Holm over all pairs of measures."""
    return _published_tau(*pair.split())


@claim(other=("pwd", "jsd", "cka", "op"))
def published_sd_ranks_alike(other: str) -> Estimate:
    """As for the measures of pairs."""
    return _published_tau("sd", other)


@claim(null=0.999)
def published_kappa_is_disagreement() -> Estimate:
    """Share of the rows on which both agree within the rounding of what is printed."""
    table = printed_measures("as printed")
    n = table["n_test"]
    gap = (table["I_kappa_as_published"] - table["I_pwd"] * n / (n - 1)).abs()
    return Estimate.exactly(float((gap <= 0.5e-6 * (1 + n / (n - 1))).mean()), len(table))


@cache
def published_groups(model: str) -> pd.DataFrame:
    """The fifteen groups of a model in the printed bootstrap, without SST-2."""
    table = pd.read_csv(paths.PUBLISHED / "paper1_bootstrap_corr.csv")
    return table[(table["run"] == "A") & (table["task"] != "sst2") & (table["model"] == model)]


def correlations_of(row: dict) -> pd.DataFrame:
    """A printed row of ten correlations as a table of six measures; kappa and pwd share theirs."""
    names = ["sd", "kappa", "pwd", "jsd", "cka", "op"]
    known = {frozenset(key[2:].split("~")): r for key, r in row.items() if key.startswith("r_")}
    at = ["kappa_pwd" if name in ("kappa", "pwd") else name for name in names]
    return pd.DataFrame([[known.get(frozenset((a, b)), 1.0) for b in at] for a in at], names, names)


@claim(needed=1.0, model=("bert", "roberta"), without=("none", "largest SD of each task"))
def agreement_rises_with_sd_published(model: str, without: str) -> Estimate:
    """r within tasks, groups permuted within tasks."""
    part = published_groups(model).reset_index(drop=True)
    if without != "none":
        part = part.drop(part.groupby("task")["sd_10seeds_ddof0"].idxmax()).reset_index(drop=True)
    levels = consistency.agreement_levels([correlations_of(r) for r in part.to_dict("records")])
    tested = consistency.level_against_agreement(
        part["sd_10seeds_ddof0"].to_numpy(), levels, strata=part["task"].to_numpy()
    )
    row = tested.set_index("measure").loc["all"]
    reach = 1.96 / np.sqrt(len(part) - 3)
    low, high = np.tanh(np.arctanh(row["within"]) + np.array([-reach, reach]))
    return Estimate(row["within"], float(low), float(high), len(part), row["p"])


@cache
def _kinds_by_layer() -> pd.DataFrame:
    """The printed curves of failed and successful runs: mean difference a panel and band."""
    table = pd.read_csv(paths.PUBLISHED / "paper1_layers_success_failed.csv")
    curves = table.melt(["model", "task", "series"], var_name="layer", value_name="d").dropna()
    curves["layer"] = curves["layer"].str[1:].astype(int)
    curves[["measure", "group"]] = curves["series"].str.lower().str.split("_", expand=True)
    index = ["measure", "model", "task", "layer"]
    wide = curves.pivot_table(index=index, columns="group", values="d").dropna().reset_index()
    wide["band"] = pd.cut(wide["layer"], [0, 8, 16, 24], labels=["bottom", "middle", "top"])
    wide["difference"] = wide["fail"] - wide["succ"]
    return wide.groupby([*index[:3], "band"], observed=True)["difference"].mean().reset_index()


@cache
def _bert_base() -> tuple[pd.DataFrame, np.ndarray]:
    """Scores of 100 BERT-base runs of McCoy, Min & Linzen (2020), and right answers by example."""
    runs = pd.read_csv(paths.PUBLISHED / "mccoy_bert_base_100_runs.csv")
    counts = pd.read_csv(paths.PUBLISHED / "mccoy_mnli_correct_counts.csv")
    return runs, counts["n_correct_of_100"].to_numpy()


@claim()
def bert_base_answers_differ_more_than_scores() -> Estimate:
    """Share of examples on which exactly one of two runs is right, less the difference of their
    accuracies, in points; how the former varies over runs is not known from counts.
    """
    runs, counts = _bert_base()
    accuracy = runs["mnli_dev_accuracy"].to_numpy()
    gap = measures.instability(np.abs(accuracy[:, None] - accuracy))
    flips = measures.flip_rate_from_counts(counts, len(runs)).mean()
    value, low, high = 100 * (flips - np.array([gap.value, gap.high, gap.low]))
    return Estimate(float(value), float(low), float(high), len(runs))


@claim()
def bert_base_seeds_change_accuracy_beyond_flips() -> Estimate:
    """SD of accuracy over seeds without the noise of the development set, in points."""
    runs, counts = _bert_base()
    spread = measures.seed_variance_from_counts(runs["mnli_dev_accuracy"].to_numpy(), counts)
    points = (100 * end for end in spread.distribution[:3])
    return Estimate.of(Interval(*points, len(runs)), spread.p)


HANS = ("lexical_nonentailed", "subsequence_nonentailed", "constituent_nonentailed", "overall")


@claim(of=HANS)
def bert_base_generalises_less_alike(of: str) -> Estimate:
    """Log ratio of the SD of accuracy on HANS to that on MNLI."""
    runs, _ = _bert_base()
    ratio = comparison.spread_ratio(runs["mnli_dev_accuracy"], runs[f"hans_{of}"])
    value, low, high = np.log(ratio[:3])
    return Estimate(float(value), float(low), float(high), len(runs))


@claim(measure=("cka", "op", "svcca"))
def published_failed_runs_are_farther(measure: str) -> Estimate:
    """Mean difference over six panels, two-sided sign test."""
    part = _kinds_by_layer().query("measure == @measure and band == 'top'")["difference"]
    p = stats.binomtest(int((part > 0).sum()), len(part)).pvalue
    mean = intervals.mean_interval(part.to_numpy(), method="jackknife")
    return Estimate.of(mean, float(p))


@claim(side="within", margin=0.5)
def no_bound_is_violated() -> Estimate:
    """Violations among all verified comparisons of all theorems."""
    table = pd.read_csv(paths.DATA / "benchmarks" / "bounds_verified.csv")
    return Estimate.exactly(float(table["violations"].sum()), int(table["comparisons"].sum()))


@cache
def _heads(rate: float) -> dict[int, np.ndarray]:
    found = {}
    for group in groups("reference-stabilizers"):
        method = group.setting["method"]
        if method.startswith("mhloss") and np.isclose(group.setting["learning_rate"], rate):
            heads = int(method.partition("heads=")[2].rstrip(")") or 5)
            found[heads] = measures.pairwise_disagreement(group.predictions)
    return found


@claim(side="below", rate=(3e-4, 3e-3), heads=(10, 2, 5, 20))
def several_heads_agree_more(rate: float, heads: int) -> Estimate:
    """Log ratio of disagreement to that of one head, the same seeds left out in both."""
    one, several = _heads(rate)[1], _heads(rate)[heads]

    def statistic(weights: np.ndarray) -> np.ndarray:
        means = [intervals.pair_means(matrix, weights) for matrix in (one, several)]
        return np.log(means[1] / means[0])

    return Estimate.of(intervals.interval(statistic, len(one), method="jackknife"))


@cache
def _cells() -> pd.DataFrame:
    """What the theory is claimed to say, by claim, setting and perturbation."""
    table = theory_claims.cells(theory_claims.specifications())
    return table.set_index(list(theory_claims.CELL))


def _cell(name: str, setting: str, perturbation: str) -> Estimate:
    row = _cells().loc[name, setting, perturbation]
    n = 0 if np.isnan(row["value"]) else int(row["n"])
    return Estimate(row["value"], row["low"], row["high"], n)


WHERE = {"setting": theory_claims.SETTINGS, "perturbation": theory_claims.PERTURBATIONS}


@claim(side="below", needed=1.0, **WHERE)
def more_examples_stabilise(setting: str, perturbation: str) -> Estimate:
    """log₂ change of the instability with twice the examples: the middle of all specifications."""
    return _cell("sample size", setting, perturbation)


@claim(side="below", needed=1.0, **WHERE)
def a_smaller_rate_stabilises(setting: str, perturbation: str) -> Estimate:
    """log₂ change of the instability with half the learning rate."""
    return _cell("learning rate", setting, perturbation)


@claim(side="below", needed=1.0, **WHERE)
def more_steps_stabilise(setting: str, perturbation: str) -> Estimate:
    """log₂ change of the instability with twice the steps."""
    return _cell("iterations", setting, perturbation)


@claim(side="below", needed=1.0, **WHERE)
def a_larger_margin_stabilises(setting: str, perturbation: str) -> Estimate:
    """log₂ change of the instability with twice the margin of the features."""
    return _cell("margin", setting, perturbation)
