"""An instability report on runs made elsewhere: one page of HTML, and tables.

The same measures as everywhere else, each with an interval and the number of runs that it needs,
and a reading in plain words.
"""

import io
import string
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from lib import measures, plots
from lib.measures.summary import REPRESENTATION
from lib.report.comparing import Compared
from lib.report.formats import reproducibility
from lib.report.interpret import interpret
from lib.report.measuring import MeasuredRuns
from lib.theory.own_features import CertifiedHead

#: Runs whose names fit beside a figure.
MOST_NAMED = 40
#: Characters of a text that the page shows.
LONGEST = 300
#: The figure that stands with the comparison.
BESIDE = "Scores of the settings"


def figures(
    measured: MeasuredRuns, settings: Mapping[str, MeasuredRuns] | None = None
) -> dict[str, tuple[Figure, str]]:
    """Title → figure and what it shows to someone who cannot see it; those that the runs allow, and
    the scores of all ``settings`` side by side.
    """
    plots.use_style()
    group, n_runs, drawn = measured.group, len(measured.group), {}

    def axes(title: str, width: float, height: float, alt: str) -> plt.Axes:
        fig, ax = plt.subplots(figsize=(width, height))
        drawn[title] = fig, alt
        return ax

    if settings and len(settings) > 1 and measured.metric:
        letters = dict(zip(string.ascii_uppercase, settings.values(), strict=False))
        runs = pd.concat({name: one.group.runs for name, one in letters.items()}, names=["setting"])
        runs = runs.reset_index("setting").assign(metric=measured.metric)
        alt = "Dots: the scores of the runs of each setting, failed ones open; the majority class "
        ax = axes(BESIDE, min(1.2 + 0.9 * len(letters), plots.PAGE), 2.4, f"{alt}dashed.")
        plots.seeds_strip(ax, runs, x="setting", order=list(letters))
    named = group.names if n_runs <= MOST_NAMED else None
    room = 0.06 * max(map(len, named or [""]))
    if "score" in measured.scores:
        alt = f"Dots: the {measured.metric} of each of {n_runs} runs"
        alt += "." if group.texts else "; failed ones open."
        height = 0.8 + 0.14 * min(n_runs, MOST_NAMED)
        ax = axes("Scores of the runs", 3.5 + room, height, alt)
        plots.run_dots(ax, measured.scores, label=measured.metric)
    if group.classes or group.texts:
        apart = measures.pairwise_disagreement(group.predictions)
        what = "inputs for which two runs write different texts"
        what = what if group.texts else "examples that two runs answer differently"
        alt = f"Heat map, {n_runs} by {n_runs}: share of {what}; largest {apart.max():.3f}."
        ax = axes("Disagreement of each pair", 4.2 + room, 3.1 + room, alt)
        label = "share of different texts" if group.texts else "share answered differently"
        plots.run_heatmap(ax, apart, names=named, label=label)
    if group.classes:
        dissenting = measured.examples["dissenting_runs"]
        alt = (
            "Bars: share of examples on which so many runs dissent from the most frequent answer; "
            f"{(dissenting == 0).mean():.2f} without dissent."
        )
        plots.dissent_bars(axes("Examples by dissent", plots.PAGE, 2.0, alt), dissenting, n_runs)
    layers = measured.table[measured.table["granularity"] == "representation"]
    if not layers.empty:
        alt = (
            "Lines: mean distance of two runs at each layer by CKA, OP and SVCCA, with bands from "
            "resampling runs, and the chance level of each dashed."
        )
        ax = axes("Representations by layer", plots.PAGE, 2.4, alt)
        plots.layer_curves(ax, layers, measures=sorted(REPRESENTATION), chance=True)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        ax.set(xlabel="layer, as given")
    for fig, _ in drawn.values():
        plt.close(fig)  # shown where it is named, not wherever it was drawn
    return drawn


def write(
    measured: MeasuredRuns,
    folder: Path,
    head: CertifiedHead | None = None,
    compared: Compared | None = None,
    settings: Mapping[str, MeasuredRuns] | None = None,
) -> Path:
    """``report.html``, ``measures.csv`` and ``examples.csv`` into a folder, of a certified head its
    tables, and of a comparison of ``settings`` (the first is ``measured``) ``comparison.csv``;
    returns the page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    measured.table.to_csv(folder / "measures.csv", index=False, float_format="%.6g")
    measured.examples.to_csv(folder / "examples.csv", index=False, float_format="%.6g")
    if head is not None:
        head.write(folder)
    rows = []
    if compared is not None:
        compared.table.to_csv(folder / "comparison.csv", float_format="%.6g")
        if len(settings or ()) == 2:
            rows = compared.table.reset_index().to_dict("records")
    drawn = [
        {"title": title, "svg": _svg(figure), "alt": alt}
        for title, (figure, alt) in figures(measured, settings).items()
    ]
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    templates.filters["cell"] = _cell
    page = templates.get_template("page.html.j2").render(
        group=measured.group,
        reading=interpret(measured),
        level=f"{100 * measured.level:g} %",
        width=f"± {100 * measured.width:g} %",
        rows=measured.table.astype({"layer": object}).fillna({"layer": ""}).to_dict("records"),
        layered=bool(measured.group.representations),
        sources=measured.sources.reset_index().to_dict("records"),
        unstable=measured.examples[measured.examples.iloc[:, 1] > 0].head(10),
        figures=drawn,
        beside=BESIDE,
        head=head,
        compared=compared.sentences if compared else (),
        rows_compared=rows,
        reproducibility=reproducibility(measured),
    )
    target = folder / "report.html"
    target.write_text(page, encoding="utf-8")
    return target


def _svg(figure: Figure) -> str:
    """A figure as text that stands in a page, with no declaration and no address in it."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing, dpi=150, facecolor="none")
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _cell(value: object, digits: int = 3) -> str:
    """A number as the page shows it; nothing where there is none."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float):
        return "> 300" if np.isinf(value) else f"{value:.{digits}f}".replace("-", "−")
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
