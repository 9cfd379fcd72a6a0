"""``python -m lib.report PATH``: the report as a command."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lib.report import page, reading
from lib.report.columns import Options
from lib.report.formats import FORMATS
from lib.report.interpret import interpret
from lib.report.measuring import CLASS_METRICS, SCORE_METRICS, measure_runs
from lib.theory.own_features import certify_file

COLUMNS = {
    "--runs": ("PATTERN", "columns that are runs, such as 'seed*' or a,b,c"),
    "--run": ("COLUMN", "names the run of each row"),
    "--example": ("COLUMN", "ids of examples"),
    "--label": ("COLUMN", "gold labels"),
    "--prediction": ("COLUMN", "answers"),
}


def parser() -> argparse.ArgumentParser:
    """The options of the report."""
    made = argparse.ArgumentParser(
        prog="python -m lib.report",
        description="How unstable are these runs? Reads predictions, or scores, of several runs of "
        "one setting, writes report.html, measures.csv and examples.csv.",
        epilog=reading.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("path", help="a file, or a folder with a file or a folder for each run")
    made.add_argument("--labels", metavar="FILE", help="gold labels, by id or by order")
    made.add_argument(
        "--exclude", action="append", default=[], metavar="RUN", help="leave a run out; repeatable"
    )
    what = made.add_argument_group("what is what, where it is not found out")
    for option, (name, text) in COLUMNS.items():
        what.add_argument(option, default="", metavar=name, help=text)
    what.add_argument("--file", default="", metavar="PATTERN", help="which file of each run")
    what.add_argument(
        "--only", action="append", default=[], metavar="COLUMN=VALUE",
        help="rows of one task, method, …; repeatable",
    )  # fmt: skip
    what.add_argument("--filter", metavar="NAME", help="of lm-eval: the same as --only filter=NAME")
    what.add_argument("--task", choices=("classification", "regression"), default="")
    what.add_argument(
        "--metric", default="",
        help=f"of the scores: {', '.join((*CLASS_METRICS, *SCORE_METRICS))}; or a column of scores",
    )  # fmt: skip
    how = made.add_argument_group("what comes out")
    how.add_argument(
        "--features", type=Path, metavar="FILE",
        help="features under the head and labels of the training rows, for a section on how far a "
        "single training row can move the head: as for python -m lib.theory",
    )  # fmt: skip
    how.add_argument("--level", type=float, default=0.95, help="of the intervals (0.95)")
    how.add_argument(
        "--width", type=float, default=0.2, help="relative half-width for seeds needed (0.2)"
    )
    how.add_argument("--format", choices=sorted(FORMATS), help="of the text; default: sentences")
    how.add_argument("--out", type=Path, help="folder (instability-report; with --format: none)")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report of runs made elsewhere."""
    made = parser()
    options = made.parse_args(arguments)
    only = [*options.only, *([f"filter={options.filter}"] if options.filter else [])]
    columns = {
        name.removeprefix("--"): getattr(options, name.removeprefix("--")) for name in COLUMNS
    }
    try:
        group, taken = reading.read(
            options.path,
            labels=options.labels,
            exclude=options.exclude,
            options=Options(**columns, metric=options.metric, only=tuple(only)),
            file=options.file,
            task=options.task,
        )
        # A column of the input, or a metric of the predictions.
        taken_as_column = "metric" in group.runs or options.metric == taken.labels
        metric = None if taken_as_column else options.metric or None
        measured = measure_runs(group, metric=metric, level=options.level, width=options.width)
        head = certify_file(options.features) if options.features else None
    except (ValueError, OSError) as error:
        made.exit(2, f"{error}\n")
    written = ""
    if options.out or not options.format:
        out = options.out or Path("instability-report")
        try:
            written = f"written: {page.write(measured, out, head)}"
        except OSError as error:
            made.exit(2, f"{out}: cannot write there ({error}); choose another --out\n")
    if options.format:
        print(FORMATS[options.format](measured, taken))
        return
    said = [*interpret(measured), *(head.sentences() if head else ())]
    print(group.source, *group.notes, "", *said, "", written, sep="\n")
