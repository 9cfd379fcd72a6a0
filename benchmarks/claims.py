"""Put the sentences of the claims where they are quoted: ``python -m benchmarks.claims``.

README, docs and notebooks quote claims between ``<!-- claims: 32 -->`` (all those of notebook 32, a
line each), ``<!-- claims: name, name -->`` (their sentences one after the other),
``<!-- claims: all -->`` (how many have which verdict) or ``<!-- claims: thinnest -->`` (which of
those that hold rest on least) and ``<!-- /claims -->``. The plan of the second campaign quotes what
was found for the hypotheses of a study between ``<!-- planned: A -->`` and ``<!-- /planned -->``.
Run it after notebook 91, which computes both, has been executed.
"""

import argparse
import re
from pathlib import Path

import nbformat
import pandas as pd

from lib import paths
from lib.analysis.claims.claim import CLAIMS, SCALES

TABLE = paths.ROOT / "figures/91_verdicts.csv"
#: A claim whose analyses never have more units than this rests on few.
FEW = 6
MARK = re.compile(r"(<!-- claims: ([^>]*) -->\n).*?(\n?<!-- /claims -->)", re.DOTALL)
PLANNED = paths.ROOT / "figures/91_planned.csv"
PLAN_MARK = re.compile(r"(<!-- planned: (\w) -->\n).*?<!-- /planned -->", re.DOTALL)
#: What the number found for a hypothesis is. C2, D1, D3 and G3 ask for two things, of which it is
#: the less sure.
UNITS = {
    "A1": "{} times a doubling", "A2": "{} times", "A3": "{} times a doubling", "A4": "ρ = {}",
    "B1": "{} points", "B2": "{} tasks of five",
    "C1": "distances differ by {}", "C2": "distances differ by {}",
    "C3": "disagreements differ by {}",
    "D1": "the lower τ is {}", "D2": "τ differs by {}", "D3": "{} methods more",
    "E1": "{} times", "E2": "{} times", "E3": "{} methods of two",
    "F1": "{} more of the variance", "F2": "{} orders of twelve", "F3": "z = {}",
    "G1": "{} times", "G2": "τ differs by {}", "G3": "{} more of the pairs",
}  # fmt: skip


def entry(row: pd.Series, *, here: bool) -> str:
    """A line of the findings: name, verdict and notebook of a claim, and its sentence.

    The name is what the claim is linked to and cited by: an anchor where it stands ``here``, in the
    list of all claims, and elsewhere a link to that.
    """
    (path,) = (paths.ROOT / "notebooks").glob(f"{row.notebook}_*.ipynb")
    anchor = f'id="{row.claim}" ' if here else ""
    return (
        f'- <a {anchor}class="claim" href="#{row.claim}">{row.claim}</a> '
        f'<b class="verdict {row.verdict}">{row.verdict}</b> '
        f"[notebook {row.notebook}](../notebooks/{path.name}) {row.sentence}"
    )


def thinnest(claims: pd.DataFrame) -> str:
    """Which of the claims that hold rest on least, a line a reason.

    Those that do not hold in all analyses; those of few units in any analysis; and those that were
    asked in one or two ways, if they are no plain facts (a fact is its own interval).
    """
    held = claims[claims["verdict"] == "holds"]
    told = held["holds"].astype(str) + " of " + held["of"].astype(str)
    few = (held["of"] <= 2) & (held["low"] != held["high"])
    reasons = {
        "do not hold in all of their analyses": (held["holds"] < held["of"], told),
        f"rest on {FEW} settings, tasks, tables or draws at most": (
            held["units"] <= FEW,
            held["units"].astype(str),
        ),
        "were asked in one or two ways only": (few, held["of"].astype(str)),
    }
    lines = []
    for reason, (chosen, number) in reasons.items():
        names = held["claim"].map('<a class="claim" href="#{0}">{0}</a>'.format)
        shown = names[chosen] + " (" + number[chosen] + ")"
        lines.append(f"- {len(shown)} {reason}: {', '.join(shown)}.")
    return "\n".join(lines)


def quote(wanted: str, claims: pd.DataFrame, *, linked: bool) -> str:
    """What stands between the marks; ``linked``: as entries, for the findings."""
    words = wanted.replace(",", " ").split()
    if words == ["all"]:
        count = claims["verdict"].value_counts().get
        return (
            f"Of {len(claims)} claims {count('holds', 0)} hold, {count('mixed', 0)} are mixed, "
            f"{count('undecided', 0)} undecided and {count('contradicted', 0)} contradicted."
        )
    if words == ["thinnest"]:
        return thinnest(claims)
    numbered = words[0].isdigit()
    if numbered:
        rows = claims[claims["notebook"].isin(map(int, words))]
    else:
        rows = claims.set_index("claim", drop=False).loc[words]
    if linked:
        return "\n".join(entry(row, here=numbered) for _, row in rows.iterrows())
    if numbered:
        return "\n".join("- " + rows["sentence"])
    return " ".join(rows["sentence"])


def planned(study: str, found: pd.DataFrame, claims: pd.DataFrame) -> str:
    """A row a hypothesis of a study: what was found, p by Holm, what would have been detected, and
    the verdicts of the plan and of the claim.
    """
    heads = "| | found | p, by Holm | would be detected | by the plan "
    lines = [heads + "| claim ([findings](findings.md)), over all analyses |", "|" + "---|" * 6]
    verdicts = claims.set_index("claim")["verdict"]
    for _, row in found[found["hypothesis"].str.startswith(study)].iterrows():
        scale = SCALES[CLAIMS[row["claim"]].scale]
        ends = ["value", "low", "high", "smallest"]
        value, low, high, smallest = scale(row[ends].astype(float))
        exact = pd.isna(row["p"])
        number = f"{value:.0f}" if exact or row["hypothesis"] == "D3" else f"{value:.2f}"
        number += "" if exact or pd.isna(low) else f" [{low:.2f}, {high:.2f}]"
        p = "a count" if exact else f"{row['adjusted']:.3f}".replace("0.000", "< 0.001")
        seen = "" if exact or pd.isna(smallest) else f"{smallest:.2f}"
        lines.append(
            f"| {row['hypothesis']} | {UNITS[row['hypothesis']].format(number)} | {p} | {seen} | "
            f"**{row['verdict']}** | `{row['claim']}`: "
            f"{verdicts[row['claim']]} |"
        )
    return "\n".join(lines)


def replanned(text: str, found: pd.DataFrame, claims: pd.DataFrame) -> str:
    """The plan with what was found between all marks."""
    return PLAN_MARK.sub(
        lambda mark: mark[1] + planned(mark[2], found, claims) + "\n<!-- /planned -->", text
    )


def requoted(text: str, claims: pd.DataFrame, *, linked: bool = False) -> str:
    """A text with what the claims say now between all marks."""
    return MARK.sub(
        lambda mark: mark[1] + quote(mark[2], claims, linked=linked) + "\n<!-- /claims -->", text
    )


def files() -> list[Path]:
    """All files that may quote claims."""
    pages = [paths.ROOT / "README.md", *sorted((paths.ROOT / "docs").glob("*.md"))]
    return [*pages, *sorted((paths.ROOT / "notebooks").glob("*.ipynb"))]


def main() -> None:
    """Rewrite every quotation."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.claims", description=main.__doc__
    ).parse_args()
    claims, found = pd.read_csv(TABLE), pd.read_csv(PLANNED)
    for path in files():
        if path.suffix == ".ipynb":
            notebook = nbformat.read(path, 4)
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    cell.source = requoted(cell.source, claims)
            nbformat.write(notebook, path)
        else:
            text = path.read_text(encoding="utf-8")
            linked = path.parent.name == "docs"
            text = requoted(text, claims, linked=linked)
            path.write_text(replanned(text, found, claims), encoding="utf-8")


if __name__ == "__main__":
    main()
