"""Claims: verdicts over specifications, the sentence that follows, and where it is quoted."""

import re
import tomllib
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

SAYS = {
    "holds": "yes {value:.1f} {ways}",
    "contradicted": "no {n}",
    "undecided": "who knows {smallest:.2f} {ways}",
}
COMMITTED = pd.read_csv(paths.ROOT / "figures/34_verdicts.csv")


def made(values, *, half=1.0, p=float("nan"), side="above", needed=0.75, margin=0.0, null=0.0):
    """A claim with a specification for each value."""

    def statistic(which):
        value = values[which]
        return Estimate(value, value - half, value + half, 7 + which, p)

    return Claim(
        "toy", statistic, {"which": range(len(values))}, 20, SAYS, side, null, margin, needed, "–"
    )


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


def test_the_sentence_has_the_numbers_of_the_first_specification_and_the_ways():
    whole = made([2.04, 3, 4])
    assert whole.conclude(whole.evaluate())["sentence"] == "yes 2.0 in all 3 ways of computing it"
    part = made([2, 3, 0.5])
    found = part.conclude(part.evaluate())
    hinge = "in 2 of 3 ways of computing it (which: 2: 0 of 1; else 2 of 2)"
    assert found["sentence"] == f"who knows 1.43 {hinge}"
    assert (found["holds"], found["contradicted"], found["of"]) == (2, 0, 3)


def test_a_choice_that_changes_nothing_counts_once_and_exact_facts_always():
    assert len(made([2, 2, 3]).evaluate()) == 3, "numbers of units differ"

    def same(which):
        return Estimate(2.0, 1.0, 3.0, 5)

    def fact(which):
        return Estimate.exactly(1.0, 9)

    options = (20, SAYS, "above", 0.0, 0.0, 0.75, "–")
    assert len(Claim("a", same, {"which": (1, 2)}, *options).evaluate()) == 1
    assert len(Claim("b", fact, {"which": (1, 2)}, *options).evaluate()) == 2


def test_a_difference_of_the_detectable_size_is_seen_four_times_in_five():
    estimate = Estimate(0.0, -0.98, 0.98, 9)
    seen = np.random.default_rng(0).normal(estimate.detectable, 0.5, 100_000)
    assert (seen - 0.98 > 0).mean() == pytest.approx(0.8, abs=0.01)


def test_independent_parts_are_pooled_by_their_errors():
    parts = [claims.claim.Interval(v, v - 1, v + 1, 5) for v in (1.0, 2.0, 3.0, 4.0)]
    lost = claims.claim.Interval(*[float("nan")] * 3, 5)
    pooled = Estimate.pooled([*parts, lost])
    assert pooled[:4] == pytest.approx((2.5, 2.0, 3.0, 4))


def test_the_smallest_tau_is_one_that_a_permutation_test_sees():
    """τ of n methods where nothing is related has the variance that the power is computed from."""
    rng = np.random.default_rng(0)
    drawn = [stats.kendalltau(range(5), rng.permutation(5)).statistic for _ in range(4000)]
    error = agreement.smallest_tau(5, 1) / stats.norm.ppf([0.975, 0.8]).sum()
    assert np.std(drawn) == pytest.approx(error, rel=0.05)


def test_every_claim_says_something_for_every_verdict():
    said = tomllib.loads(Path(claim.__file__).with_name("claims.toml").read_text("utf-8"))
    assert said.keys() == claims.CLAIMS.keys() and len(said) >= 25
    numbers = dict.fromkeys(("value", "low", "high", "smallest", "p", "least", "most"), 0.5)
    numbers |= {f"ratio_{name}": 1.0 for name in ("value", "low", "high", "smallest")}
    for one in claims.CLAIMS.values():
        assert one.says.keys() == SAYS.keys(), one.name
        for sentence in one.says.values():
            text = sentence.format(**numbers, n=3, of=4, against=1, ways="in all 4 ways")
            assert (text[0].isupper() or text[0].isdigit()) and text.endswith(".")
            assert "{" not in text


def test_a_claim_falls_when_its_data_change(monkeypatch):
    """Real tables, one model changed: a measure that misses a single dose follows no longer."""
    table = agreement._doses().copy()
    assert verdict(claims.CLAIMS["pairs-follow-noise"]) == "holds"
    table.loc[(table["measure"] == "cka").idxmax(), "up"] = 0.75
    monkeypatch.setattr(agreement, "_doses", lambda: table)
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


def test_findings_hold_all_claims_and_no_interval_stands_outside_of_one():
    findings = prose(paths.ROOT / "docs/findings.md")
    assert all(sentence in findings for sentence in COMMITTED["sentence"])
    assert (
        sum(sentence in prose(paths.ROOT / "README.md") for sentence in COMMITTED["sentence"]) >= 3
    )
    for name in ("docs/findings.md", "README.md"):
        outside = quotations.MARK.sub("", prose(paths.ROOT / name))
        assert re.findall(r"\[[-+−]?\d*\.\d+%?, ", outside) == []
