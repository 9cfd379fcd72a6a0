"""Put the sentences of the claims where they are quoted: ``python -m benchmarks.claims``.

README, docs and notebooks quote claims between ``<!-- claims: 32 -->`` (all those of notebook 32, a
line each) or ``<!-- claims: name, name -->`` (their sentences one after the other) and
``<!-- /claims -->``. Run it after notebook 91, which computes the claims, has been executed.
"""

import argparse
import re
from pathlib import Path

import nbformat
import pandas as pd

from lib import paths

TABLE = paths.ROOT / "figures/91_verdicts.csv"
MARK = re.compile(r"(<!-- claims: ([^>]*) -->\n).*?(\n?<!-- /claims -->)", re.DOTALL)


def quote(wanted: str, claims: pd.DataFrame, *, linked: bool) -> str:
    """What stands between the marks; ``linked``: with verdict and notebook, for the findings."""
    words = wanted.replace(",", " ").split()
    if not words[0].isdigit():
        return " ".join(claims.set_index("claim").loc[words, "sentence"])
    lines = []
    for row in claims[claims["notebook"].isin(map(int, words))].itertuples():
        lead = ""
        if linked:
            (path,) = (paths.ROOT / "notebooks").glob(f"{row.notebook}_*.ipynb")
            lead = f"[{row.notebook}](../notebooks/{path.name}), **{row.verdict}**: "
        lines.append(f"- {lead}{row.sentence}")
    return "\n".join(lines)


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
