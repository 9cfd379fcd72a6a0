"""Claims: verdicts over specifications, the sentence that follows, and where it is quoted."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks import claims as quotations
from lib import paths
from lib.analysis import claims, consistency
from lib.analysis.claims import agreement, claim, preregistered, published
from lib.analysis.claims.claim import Claim, Estimate
from lib.measures import summary

SAYS = {
    "holds": "yes {value:.1f} {analyses}",
    "contradicted": "no {n}",
    "undecided": "who knows {smallest:.2f} {analyses}",
}
COMMITTED = pd.read_csv(paths.ROOT / "figures/91_verdicts.csv")


def made(values, *, half=1.0, p=float("nan"), side="above", needed=0.75, margin=0.0, null=0.0):
    """A claim with a specification for each value."""

    def statistic(which):
        value = values[which]
        return Estimate(value, value - half, value + half, 7 + which, p)

    axes = {"which": range(len(values))}
    return Claim("toy", statistic, axes, None, 20, SAYS, side, null, margin, needed, "–")


def verdict(one):
    return one.conclude(one.evaluate())["verdict"]


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([2, 2, 2, 2], {}, "holds"),
        ([2, 2.1, 2.2, 0.5], {}, "holds"),
        ([2, 2.1, 0.6, 0.5], {}, "undecided"),
        ([2, 2.1, 2.2, -2], {}, "mixed"),
        ([2, 2.1, 2.2, 0.5], {"needed": 1.0}, "undecided"),
        ([-2, -3, -4, 0.5], {}, "contradicted"),
        ([-2, -3], {"side": "below"}, "holds"),
        ([2, 3], {"null": 2.5}, "undecided"),
        ([2, 3], {"null": 0.5}, "holds"),
        ([0.1, 0.2], {"side": "within", "margin": 1.5}, "holds"),
        ([0.1, 0.2], {"side": "within", "margin": 1.0}, "undecided"),
        ([9, 8], {"side": "within", "margin": 1.5}, "contradicted"),
        # Where a test decides, the interval does not.
        ([0.1, 0.2], {"p": 0.01}, "holds"),
        ([5, 6], {"p": 0.06}, "undecided"),
        ([-5, -6], {"p": 0.04}, "contradicted"),
    ],
)
def test_the_verdict_is_over_all_specifications(values, options, expected):
    assert verdict(made(values, **options)) == expected


def test_the_sentence_has_the_numbers_of_the_first_specification_and_the_analyses():
    whole = made([2.04, 3, 4])
    assert whole.conclude(whole.evaluate())["sentence"] == "yes 2.0 in all 3 analyses"
    part = made([2, 3, 0.5])
    found = part.conclude(part.evaluate())
    hinge = "in 2 of 3 analyses (0 of 1 with which = 2, 2 of 2 otherwise)"
    assert found["sentence"] == f"who knows 1.43 {hinge}"
    assert (found["holds"], found["contradicted"], found["of"]) == (2, 0, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{least:.2f} to {most:.2f} apart", "1.00 apart"),
        ("by {least:.0%} to {most:.0%}.", "by 100%."),
        ("{least:.3f} to {most:.3f}", "0.998 to 1.003"),
        ("1{least:.0f} to {most:.0f}", "11 to 1"),
        ("{least:.0f} to {most:.1f}", "1 to 1.0"),
    ],
)
def test_a_range_whose_ends_are_printed_alike_is_one_number(text, expected):
    one = replace(made([1.0, 1.003, 0.998], half=0.5), says=dict.fromkeys(SAYS, text))
    assert one.conclude(one.evaluate())["sentence"] == expected


def test_specifications_can_be_listed_and_those_without_data_are_left_out():
    def statistic(which):
        return Estimate(2.0, 1.0, 3.0, which)

    def given():
        return [{"which": which} for which in (3, 0, 5)]

    listed = Claim("a", statistic, {}, given, 20, SAYS, "above", 0.0, 0.0, 0.75, "–").evaluate()
    assert list(listed["specification"]) == ["which: 3", "which: 5"]
    assert list(claims.choices_of(listed)["which"]) == ["3", "5"]


def test_a_difference_of_the_detectable_size_is_seen_four_times_in_five():
    estimate = Estimate(0.0, -0.98, 0.98, 9)
    seen = np.random.default_rng(0).normal(estimate.detectable, 0.5, 100_000)
    assert (seen - 0.98 > 0).mean() == pytest.approx(0.8, abs=0.01)


def test_independent_parts_are_pooled_by_their_errors():
    parts = [claims.claim.Interval(v, v - 1, v + 1, 5) for v in (1.0, 2.0, 3.0, 4.0)]
    lost = claims.claim.Interval(*[float("nan")] * 3, 5)
    pooled = Estimate.pooled([*parts, lost])
    assert pooled[:4] == pytest.approx((2.5, 2.0, 3.0, 4))


def rankings(rng, shared):
    """Three tables of six methods by three measures, which share something or nothing."""
    tables = []
    for _ in range(3):
        common = shared * rng.normal(size=6)
        tables.append(pd.DataFrame({name: common + rng.normal(size=6) for name in "abc"}))
    return tables


def test_a_mean_tau_is_that_of_scipy_and_its_test_keeps_its_level_and_has_power(monkeypatch):
    monkeypatch.setattr(published, "N_SHUFFLES", 400)
    rng = np.random.default_rng(0)
    tables = rankings(rng, 1.0)
    taus = [stats.kendalltau(t["a"], t[other]).statistic for t in tables for other in "bc"]
    assert published.mean_tau(tables, "a", ["b", "c"]).value == pytest.approx(np.mean(taus))
    told = {0.0: [], 2.0: []}
    for shared, found in told.items():
        for _ in range(150):
            tables = rankings(rng, shared)
            if not shared:
                # b and c go together, which must not make a look related to both.
                tables = [t.assign(c=t["b"] + 0.1 * rng.normal(size=6)) for t in tables]
            found.append(published.mean_tau(tables, "a", ["b", "c"]).p < 0.05)
    assert np.mean(told[0.0]) <= 0.1 and np.mean(told[2.0]) > 0.9


def test_every_claim_says_something_for_every_verdict():
    said = tomllib.loads(Path(claim.__file__).with_name("claims.toml").read_text("utf-8"))
    assert said.keys() == claims.CLAIMS.keys() and len(said) >= 25
    names = ("value", "low", "high", "smallest", "least", "most")
    numbers = dict.fromkeys((*names, "p"), 0.5) | {f"ratio_{name}": 1.0 for name in names}
    for one in claims.CLAIMS.values():
        assert one.says.keys() == SAYS.keys(), one.name
        for sentence in one.says.values():
            counts = {"n": 3, "of": 4, "against": 1, "analyses": "in all 4 analyses"}
            text = sentence.format(**numbers, **counts, heads="in 1 of 2", networks="in 1 of 2")
            assert (text[0].isupper() or text[0].isdigit()) and text.endswith(".")
            assert "{" not in text


@pytest.mark.parametrize("one", claims.CLAIMS.values(), ids=lambda one: one.name)
def test_no_sentence_is_silent_on_analyses_that_say_the_opposite(one):
    told = ["undecided"] * 11 + ["holds"] * 3 + ["contradicted"] * 37
    table = pd.DataFrame({"verdict": told, "specification": "–", "value": 2.0, "low": 1.0})
    table = table.assign(high=3.0, n=5, p=0.5, smallest=2.0)
    for rows in (table, table[table["verdict"] != "holds"]):
        assert re.search(r"\b37\b", one.conclude(rows)["sentence"])
    committed = COMMITTED.set_index("claim").loc[one.name]
    if committed["contradicted"]:
        assert re.search(rf"\b{committed['contradicted']}\b", committed["sentence"])


def test_heads_and_networks_are_counted_apart():
    says = dict.fromkeys(SAYS, "on heads {heads}, in networks {networks}")
    settings = ["real head", "simulated head", "real head", "network", "network"]
    given = [
        {"setting": name, "value": v} for name, v in zip(settings, (2, 2, -2, -2, 0), strict=True)
    ]

    def statistic(setting, value):
        return Estimate(value, value - 1, value + 1, 5)

    one = Claim("a", statistic, {}, lambda: given, 20, says, "above", 0.0, 0.0, 0.75, "–")
    told = "on heads in 2 of 3 and the opposite in 1, in networks in 0 of 2 and the opposite in 1"
    assert one.conclude(one.evaluate())["sentence"].startswith(told)


def test_no_share_of_three_tasks_could_make_a_method_the_most_stable():
    """One of four that leads everywhere does so with p = 4 / 4³."""
    says = claims.CLAIMS["llrd-is-the-most-stable-method"].says["undecided"]
    assert "once in sixteen times" in says and 4 / 4**3 == 1 / 16 > claim.ALPHA
    assert [len(table) for table in agreement._values("first")] == [4, 4, 4]


def test_on_cola_most_runs_of_either_method_failed():
    cola = agreement._by_task()["cola"]
    assert min(cola[name].failed.sum() for name in ("standard", "llrd")) > 5
    assert "on cola most runs" in claims.CLAIMS["llrd-lowers-disagreement"].says["undecided"]


def test_parts_are_left_out_and_a_slope_of_the_largest_goes_with_them():
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([["cola", "rte", "mrpc"], list("abcdef")])
    sd, level = (pd.Series(rng.uniform(1, 2, 18), index) for _ in range(2))
    sd.iloc[[0, 6, 12]] = level.iloc[[0, 6, 12]] = 9
    rests = [agreement.kept(sd, without) for without in (*agreement.WITHOUT, "b")]
    assert [len(rest) for rest in rests] == [18, 12, 12, 12, 15, 15]
    assert max(rests[4]) < 9 and set(rests[1].index.unique(0)) == {"rte", "mrpc"}

    def tested(rest):
        levels, strata = pd.DataFrame({"a": level[rest.index]}), rest.index.get_level_values(0)
        found = consistency.level_against_agreement(rest.to_numpy(), levels, strata=strata)
        return found.iloc[-1]["within"], found.iloc[-1]["p"]

    (whole, sure), (left, unsure) = tested(rests[0]), tested(rests[4])
    assert whole > 0.9 and sure < 0.05 and abs(left) < 0.6 and unsure > 0.05


def test_a_claim_falls_when_its_data_change(monkeypatch):
    """Real tables, one model changed: a measure that misses a single dose follows no longer."""
    tables = {measure: agreement._doses(measure) for measure in summary.STUDIED}
    assert verdict(claims.CLAIMS["pairs-follow-noise"]) == "holds"
    tables["cka"].iloc[0, 3] = tables["cka"].iloc[0, 2]
    monkeypatch.setattr(agreement, "_doses", tables.__getitem__)
    assert verdict(claims.CLAIMS["pairs-follow-noise"]) == "mixed"


# --- where the sentences are quoted ---------------------------------------------------------------


def prose(path):
    """The Markdown of a page or notebook."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    cells = nbformat.read(path, 4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_the_committed_table_holds_all_claims():
    assert list(COMMITTED["claim"]) == list(claims.CLAIMS)


@pytest.mark.parametrize("path", quotations.files(), ids=lambda path: path.name)
def test_quotations_say_what_the_claims_say(path):
    text = prose(path)
    linked = path.parent.name == "docs"
    assert quotations.requoted(text, COMMITTED, linked=linked) == text
    if path.suffix == ".ipynb" and (number := int(path.name[:2])) in set(COMMITTED["notebook"]):
        assert f"<!-- claims: {number} -->" in text.split("## Summary")[1], "in its summary"


def test_the_plan_says_what_was_found():
    found, text = pd.read_csv(quotations.PLANNED), prose(paths.ROOT / "docs/preregistration.md")
    assert quotations.replanned(text, found, COMMITTED) == text
    assert list(found["hypothesis"]) == sorted(preregistered.HYPOTHESES)
    studies = "".join(dict.fromkeys(name[0] for name in found["hypothesis"]))
    assert "".join(sorted(re.findall(r"<!-- planned: (\w) -->", text))) == "".join(sorted(studies))
    for name in found["hypothesis"]:
        assert re.search(rf"^\| {name} \|", text, re.M), "planned"


def test_an_empty_block_of_the_plan_takes_nothing_that_follows():
    marks = [f"<!-- planned: {study} -->\n<!-- /planned -->\n\nWhy {study}.\n" for study in "AB"]
    found = pd.read_csv(quotations.PLANNED)
    filled = quotations.replanned("".join(marks), found, COMMITTED)
    assert filled == quotations.replanned(filled, found, COMMITTED)
    assert filled.count("<!-- /planned -->\n\nWhy") == 2
    assert filled.index("| A1 |") < filled.index("Why A.") < filled.index("| B1 |")


def test_every_claim_can_be_cited_by_its_name_and_the_version():
    findings = prose(paths.ROOT / "docs/findings.md")
    anchors = re.findall(r'^- <a id="([\w-]+)" class="claim" href="#\1">\1</a>', findings, re.M)
    assert sorted(anchors) == sorted(COMMITTED["claim"])
    version = re.search(r"^version: (.+)$", (paths.ROOT / "CITATION.cff").read_text(), re.M)[1]
    assert f"version {version}, ADDRESS, claim `" in findings


def test_the_findings_begin_with_three_claims_that_hold_and_with_how_many_do():
    start = prose(paths.ROOT / "docs/findings.md").partition("\n## ")[0]
    names = re.findall(r'class="claim" href="#([\w-]+)"', start)
    assert len(names) == 3
    assert set(COMMITTED.set_index("claim").loc[names, "verdict"]) == {"holds"}
    counts = COMMITTED["verdict"].value_counts()
    assert (
        f"Of {len(COMMITTED)} claims {counts['holds']} hold, {counts['mixed']} are mixed" in start
    )


def test_findings_say_which_claims_have_to_hold_in_all_analyses():
    (rule,) = re.findall(r"^\*\*How to read.*", prose(paths.ROOT / "docs/findings.md"), re.M)
    strict = {one.name for one in claims.CLAIMS.values() if one.needed == 1}
    assert set(re.findall(r"`([a-z-]+-[a-z-]+)`", rule)) - {"reference-tasks"} == strict
    left_out = {
        one.name for one in claims.CLAIMS.values() if any("without_" in a for a in one.axes)
    }
    assert left_out <= strict and "three quarters" in rule and claim.MOST == 0.75


def test_the_claims_of_the_theory_name_its_authors_where_they_are_judged():
    findings = prose(paths.ROOT / "docs/findings.md")
    _, section = findings.split("## The theory: what Fu, So and Collier claim to stabilise")
    assert all(f'id="{name}"' in section for name in claims.stability.STABILISERS.values())


def test_the_thinnest_evidence_is_of_few_units_or_analyses():
    names = ["solid", "short", "few", "once", "fact", "no"]
    table = pd.DataFrame({"claim": names, "verdict": ["holds"] * 5 + ["undecided"]})
    table = table.assign(of=[8, 8, 8, 1, 1, 1], holds=[8, 7, 8, 1, 1, 0], units=[9, 9, 3, 9, 9, 1])
    table = table.assign(low=[1, 1, 1, 1, 2, 1], high=[2, 2, 2, 2, 2, 2])
    lines = quotations.thinnest(table).splitlines()
    assert [re.findall(r">(\w+)</a> \((.*?)\)", line) for line in lines] == [
        [("short", "7 of 8")], [("few", "3")], [("once", "1")]
    ]  # fmt: skip


def test_findings_hold_all_claims_and_no_interval_stands_outside_of_one():
    findings = prose(paths.ROOT / "docs/findings.md")
    assert all(sentence in findings for sentence in COMMITTED["sentence"])
    assert (
        sum(sentence in prose(paths.ROOT / "README.md") for sentence in COMMITTED["sentence"]) >= 3
    )
    for name in ("docs/findings.md", "README.md"):
        outside = quotations.MARK.sub("", prose(paths.ROOT / name))
        assert re.findall(r"\[[-+−]?\d*\.\d+%?, ", outside) == []
