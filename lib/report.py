"""An instability report on runs made elsewhere: one page of HTML, and tables.

    python -m lib.report PATH [--labels FILE] [--out FOLDER]

``lib.outside`` says what PATH may be. The same measures as everywhere else, each with an interval
and the number of runs that it needs, and a reading in plain words.
"""

import argparse
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from lib import measures, multibootstrap, outside, planning, plots, provenance, resampling, scoring
from lib import summary as summaries
from lib.outside import OutsideRuns
from lib.outside_files import OutsideError
from lib.reading import read_aloud

CLASS_METRICS = ("accuracy", "f1", "macro-f1", "mcc")
SCORE_METRICS = ("pearson", "spearman")
REPRESENTATIONS = ("cka", "op", "svcca")
#: Runs whose names fit beside a figure.
MOST_NAMED = 40


@dataclass
class Report:
    """What is said about a group of runs; ``write`` makes the page of it.

    table : a row a measure (and layer) with ``value, low, high, n_runs, seeds_needed``, and
        ``chance`` for representations
    examples : a row an example with its ``flip_rate``, ``vote_entropy``, votes and label, or the
        ``spread`` of its predictions in regression
    runs : a row a run with its score and status (where there are labels)
    sources : half-widths of intervals from resampling runs, examples, both (with labels)
    reading : sentences
    figures : title → (figure, what it shows to someone who cannot see it)
    """

    runs_read: OutsideRuns
    metric: str | None
    level: float
    width: float
    table: pd.DataFrame
    runs: pd.DataFrame
    examples: pd.DataFrame
    sources: pd.DataFrame
    reading: list[str] = field(default_factory=list)
    figures: dict[str, tuple[Figure, str]] = field(default_factory=dict)


def analyse(
    runs: OutsideRuns, *, metric: str | None = None, level: float = 0.95, width: float = 0.2
) -> Report:
    """Every measure that the runs allow.

    Parameters
    ----------
    metric : of the scores; by default accuracy, for regression pearson
    level : coverage aimed at by all intervals
    width : relative half-width that ``seeds_needed`` is for: 0.2 is the value ± 20 %
    """
    metric = _metric(runs, metric)
    table = [] if runs.labels is None else _score_rows(runs, metric, level, width)
    each = _each_run(runs, metric)
    examples, sources = _each_example(runs), pd.DataFrame()
    if runs.classes:
        table += _prediction_rows(runs, level, width)
        if runs.labels is not None and len(runs.names) >= resampling.MIN_RUNS:
            sources = multibootstrap.half_widths(runs.predictions, runs.labels, level=level)
    if runs.representations is not None:
        table += _representation_rows(runs, level, width)
    columns = ["granularity", "measure", "meaning", "layer", "value", "low", "high", "n_runs"]
    columns += ["seeds_needed", "chance"]
    made = pd.DataFrame(table).reindex(columns=columns).astype({"layer": "Int64"})
    report = Report(runs, metric, level, width, made, each, examples, sources)
    report.reading = read_aloud(report)
    report.figures = _figures(report)
    return report


def _metric(runs: OutsideRuns, metric: str | None) -> str | None:
    if runs.labels is None:
        if metric is not None:
            raise OutsideError(f"metric {metric!r} needs gold labels; give them with labels=…")
        return None
    valid = CLASS_METRICS if runs.classes else SCORE_METRICS
    if metric not in (None, *valid):
        kind = "classes" if runs.classes else "scores"
        raise OutsideError(f"metric {metric!r} does not fit {kind}; valid: {', '.join(valid)}")
    if metric == "f1" and len(runs.classes) != 2:
        raise OutsideError(f"metric 'f1' needs two classes, not {len(runs.classes)}; try macro-f1")
    return metric or valid[0]


def _row(
    granularity: str, measure: str, meaning: str, interval: resampling.Interval, **more: object
) -> dict[str, object]:
    given = {"granularity": granularity, "measure": measure, "meaning": meaning}
    return {**given, **interval._asdict(), **more}


def _each_run(runs: OutsideRuns, metric: str | None) -> pd.DataFrame:
    """Score and status of every run, as for runs trained here."""
    if runs.labels is None:
        return pd.DataFrame({"run": runs.names})
    rows = []
    for said in runs.predictions:
        votes = np.eye(len(runs.classes))[said] if runs.classes else said[:, None]
        rows.append(scoring.judge(runs.labels, votes, metric))
    return pd.DataFrame(rows).assign(run=runs.names)[["run", "score", "status", "majority"]]


def _score_rows(runs: OutsideRuns, metric: str, level: float, width: float) -> list[dict]:
    each = _each_run(runs, metric)
    failed = measures.failed_rate(each["status"] != "ok", level=level)
    rows = [_row("performance", "failed", "share of runs at or below the majority class", failed)]
    if not runs.classes:
        rows[0]["meaning"] = "share of runs no better than the mean label"
    if each["score"].isna().any():
        return rows
    scores = each["score"].to_numpy(float)
    made = summaries.statistics_of(scores=scores)
    for name, statistic in made.items():
        meaning = summaries.MEANING[name][1].replace("score", metric, 1)
        interval = summaries.interval_of(name, statistic, scores, level=level)
        needed = planning.seeds_needed(statistic, len(scores), width=width, level=level)
        rows.append(_row("performance", name, meaning, interval, seeds_needed=needed))
    found, expected = measures.score_range(scores)
    plain = {"low": np.nan, "high": np.nan, "n_runs": len(scores)}
    for name, value, meaning in (
        ("range", found, f"best minus worst; {expected:.3f} to expect of normal scores"),
        ("iqm", measures.interquartile_mean(scores), "mean of the middle half of the scores"),
        ("best", scores.max(), "best score, which grows with the number of runs"),
    ):
        row = {"granularity": "performance", "measure": name, "meaning": meaning}
        rows.append({**row, "value": value, **plain})
    return rows


def _prediction_rows(runs: OutsideRuns, level: float, width: float) -> list[dict]:
    known = {"predictions": runs.predictions, "probabilities": runs.probabilities}
    made = summaries.statistics_of(**known, labels=runs.labels)
    n_runs, rows = len(runs.names), []
    for name, statistic in made.items():
        granularity, meaning = summaries.MEANING[name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an undefined kappa shows as such in the table
            interval = summaries.interval_of(name, statistic, n_runs, level=level)
        needed = planning.seeds_needed(statistic, n_runs, width=width, level=level)
        rows.append(_row(granularity, name, meaning, interval, seeds_needed=needed))
    return rows


def _representation_rows(runs: OutsideRuns, level: float, width: float) -> list[dict]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", measures.SaturationWarning)  # the chance level says it
        found, chance = measures.distances_and_chance(runs.representations, REPRESENTATIONS)
    rows = []
    for name in REPRESENTATIONS:
        meaning = f"{plots.MEASURES[name][0]} distance of two runs' representations"
        for layer, (matrix, unrelated) in enumerate(zip(found[name], chance[name], strict=True)):
            interval = measures.instability(matrix, level=level)
            more = {"layer": layer, "chance": float(np.nanmean(unrelated))}
            if not np.isnan(matrix).any():
                statistic = summaries.pair_statistic(matrix)
                more["seeds_needed"] = planning.seeds_needed(
                    statistic, len(matrix), width=width, level=level
                )
            rows.append(_row("representation", name, meaning, interval, **more))
    return rows


def _each_example(runs: OutsideRuns) -> pd.DataFrame:
    """Flip rate, entropy and votes of each example (regression: the SD), least stable first."""
    if not runs.classes:
        spread = runs.predictions.std(0, ddof=1)
        table = pd.DataFrame({"example": runs.examples, "spread": spread})
        return table.sort_values("spread", ascending=False, kind="stable", ignore_index=True)
    votes = np.stack([(runs.predictions == c).sum(0) for c in range(len(runs.classes))], -1)
    table = pd.DataFrame(
        {
            "example": runs.examples,
            "flip_rate": measures.flip_rate(runs.predictions),
            "vote_entropy": measures.vote_entropy(runs.predictions),
            "majority_vote": [runs.classes[c] for c in votes.argmax(-1)],
            "dissenting_runs": len(runs.names) - votes.max(-1),
        }
    )
    if runs.labels is not None:
        table["label"] = [runs.classes[c] for c in runs.labels]
        table["runs_right"] = (runs.predictions == runs.labels).sum(0)
    return table.sort_values("flip_rate", ascending=False, kind="stable", ignore_index=True)


def _figures(report: Report) -> dict[str, tuple[Figure, str]]:
    """The figures that the runs allow, with their descriptions."""
    plots.use_style()
    runs, made = report.runs_read, {}
    n_runs = len(runs.names)
    named = runs.names if n_runs <= MOST_NAMED else None
    if "score" in report.runs:
        fig, ax = plt.subplots(figsize=(plots.PAGE, 0.8 + 0.14 * min(n_runs, MOST_NAMED)))
        plots.run_dots(ax, report.runs, label=report.metric)
        made["Scores of the runs"] = (
            fig,
            (f"Dots: the {report.metric} of each of {n_runs} runs; failed ones open."),
        )
    if runs.classes:
        fig, ax = plt.subplots(figsize=(plots.PAGE, 3.3))
        apart = measures.pairwise_disagreement(runs.predictions)
        plots.run_heatmap(ax, apart, names=named, label="share answered differently")
        made["Disagreement of each pair"] = (
            fig,
            (
                f"Heat map, {n_runs} by {n_runs}: share of examples that two runs answer "
                f"differently; largest {apart.max():.3f}."
            ),
        )
        fig, ax = plt.subplots(figsize=(plots.PAGE, 2.0))
        plots.dissent_bars(ax, report.examples["dissenting_runs"], n_runs)
        made["Examples by dissent"] = (
            fig,
            (
                "Bars: share of examples on which so many runs dissent from the most frequent "
                f"answer; {(report.examples['dissenting_runs'] == 0).mean():.2f} have no dissent."
            ),
        )
    layers = report.table[report.table["granularity"] == "representation"]
    if not layers.empty:
        fig, ax = plt.subplots(figsize=(plots.PAGE, 2.4))
        plots.layer_curves(ax, layers, measures=list(REPRESENTATIONS), chance=True)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        ax.set(xlabel="layer, as given")
        made["Representations by layer"] = (
            fig,
            (
                "Lines: mean distance of two runs at each layer by CKA, OP and SVCCA, with bands "
                "from resampling runs, and the chance level of each dashed."
            ),
        )
    for fig, _ in made.values():
        plt.close(fig)  # kept by the report, and shown where it is named, not wherever it was made
    return made


def write(report: Report, folder: Path) -> Path:
    """``report.html``, ``measures.csv`` and ``examples.csv`` into a folder; returns the page."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    report.table.to_csv(folder / "measures.csv", index=False, float_format="%.6g")
    report.examples.to_csv(folder / "examples.csv", index=False, float_format="%.6g")
    drawn = [
        {"title": title, "svg": _svg(figure), "alt": alt}
        for title, (figure, alt) in report.figures.items()
    ]
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    templates.filters["cell"] = _cell
    page = templates.get_template("report.html.j2").render(
        runs=report.runs_read,
        report=report,
        level=f"{100 * report.level:g} %",
        width=f"± {100 * report.width:g} %",
        rows=report.table.astype({"layer": object}).fillna({"layer": ""}).to_dict("records"),
        layered=report.runs_read.representations is not None,
        sources=report.sources.reset_index().to_dict("records"),
        unstable=report.examples[report.examples.iloc[:, 1] > 0].head(10),
        figures=drawn,
        versions=", ".join(f"{k} {v}" for k, v in provenance.versions().items()),
    )
    target = folder / "report.html"
    target.write_text(page, encoding="utf-8")
    return target


def _svg(figure: Figure) -> str:
    """A figure as text that stands in a page, with no declaration and no address in it."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing)
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _cell(value: object, digits: int = 3) -> str:
    """A number as the page shows it; nothing where there is none."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float):
        return "> 300" if np.isinf(value) else f"{value:.{digits}f}".replace("-", "−")
    return str(value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report of runs made elsewhere."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.report",
        description="How unstable are these runs? Reads predictions of several runs of one "
        "setting, writes report.html, measures.csv and examples.csv.",
        epilog=outside.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", help="a .csv, .parquet or .npz file, or a folder of run folders")
    parser.add_argument("--labels", help="gold labels: .csv, .parquet or .npy")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="RUN", help="leave a run out; repeatable"
    )
    parser.add_argument(
        "--metric", help=f"of the scores: {', '.join((*CLASS_METRICS, *SCORE_METRICS))}"
    )
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (0.95)")
    parser.add_argument(
        "--width", type=float, default=0.2, help="relative half-width for seeds needed (0.2)"
    )
    parser.add_argument("--out", type=Path, default=Path("instability-report"), help="folder")
    options = parser.parse_args(arguments)
    try:
        runs = outside.read(options.path, labels=options.labels, exclude=options.exclude)
        report = analyse(runs, metric=options.metric, level=options.level, width=options.width)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    page = write(report, options.out)
    print(runs.source, *runs.notes, "", *report.reading, "", f"written: {page}", sep="\n")


if __name__ == "__main__":
    main()
