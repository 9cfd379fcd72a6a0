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
from lib.analysis import claims
from lib.analysis.claims import agreement, claim
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
    hinge = "in 2 of 3 analyses (which 2: 0 of 1; else 2 of 2)"
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
    monkeypatch.setattr(agreement, "N_SHUFFLES", 400)
    rng = np.random.default_rng(0)
    tables = rankings(rng, 1.0)
    taus = [stats.kendalltau(t["a"], t[other]).statistic for t in tables for other in "bc"]
    assert agreement.mean_tau(tables, ["a"], ["b", "c"]).value == pytest.approx(np.mean(taus))
    told = {0.0: [], 2.0: []}
    for shared, found in told.items():
        for _ in range(150):
            tables = rankings(rng, shared)
            if not shared:
                # b and c go together, which must not make a look related to both.
                tables = [t.assign(c=t["b"] + 0.1 * rng.normal(size=6)) for t in tables]
            found.append(agreement.mean_tau(tables, ["a"], ["b", "c"]).p < 0.05)
    assert np.mean(told[0.0]) <= 0.1 and np.mean(told[2.0]) > 0.9


def test_every_claim_says_something_for_every_verdict():
    said = tomllib.loads(Path(claim.__file__).with_name("claims.toml").read_text("utf-8"))
    assert said.keys() == claims.CLAIMS.keys() and len(said) >= 25
    names = ("value", "low", "high", "smallest", "least", "most")
    numbers = dict.fromkeys((*names, "p"), 0.5) | {f"ratio_{name}": 1.0 for name in names}
    for one in claims.CLAIMS.values():
        assert one.says.keys() == SAYS.keys(), one.name
        for sentence in one.says.values():
            text = sentence.format(**numbers, n=3, of=4, against=1, analyses="in all 4 analyses")
            assert (text[0].isupper() or text[0].isdigit()) and text.endswith(".")
            assert "{" not in text


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


def test_findings_hold_all_claims_and_no_interval_stands_outside_of_one():
    findings = prose(paths.ROOT / "docs/findings.md")
    assert all(sentence in findings for sentence in COMMITTED["sentence"])
    assert (
        sum(sentence in prose(paths.ROOT / "README.md") for sentence in COMMITTED["sentence"]) >= 3
    )
    for name in ("docs/findings.md", "README.md"):
        outside = quotations.MARK.sub("", prose(paths.ROOT / name))
        assert re.findall(r"\[[-+−]?\d*\.\d+%?, ", outside) == []
