"""Put the sentences of the claims where they are quoted: ``python -m benchmarks.claims``.

README, docs and notebooks quote claims between ``<!-- claims: 32 -->`` (all those of notebook 32, a
line each), ``<!-- claims: name, name -->`` (their sentences one after the other),
``<!-- claims: all -->`` (how many have which verdict) or ``<!-- claims: thinnest -->`` (which of
those that hold rest on least) and ``<!-- /claims -->``. Run it after notebook 91, which computes
the claims, has been executed.
"""

import argparse
import re
from pathlib import Path

import nbformat
import pandas as pd

from lib import paths

TABLE = paths.ROOT / "figures/91_verdicts.csv"
#: A claim whose analyses never have more units than this rests on few.
FEW = 6
MARK = re.compile(r"(<!-- claims: ([^>]*) -->\n).*?(\n?<!-- /claims -->)", re.DOTALL)


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
    claims = pd.read_csv(TABLE)
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
            path.write_text(requoted(text, claims, linked=linked), encoding="utf-8")


if __name__ == "__main__":
    main()
