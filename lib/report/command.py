"""``python -m lib.report PATH``: the report as a command."""

import argparse
import signal
import string
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from lib.report import comparing, gate, page, reading
from lib.report.columns import Options, Taken
from lib.report.formats import FORMATS
from lib.report.interpret import interpret
from lib.report.measuring import (
    CLASS_METRICS,
    SCORE_METRICS,
    TEXT_METRICS,
    MeasuredRuns,
    measure_runs,
)
from lib.report.opening import OutsideError
from lib.theory.own_features import certify_file

COLUMNS = {
    "--runs": ("PATTERN", "columns that are runs, such as 'seed*' or a,b,c"),
    "--run": ("COLUMN", "names the run of each row"),
    "--repeat": ("COLUMN", "tells evaluations of one run apart: decoding seed, epoch, …"),
    "--example": ("COLUMN", "ids of examples"),
    "--label": ("COLUMN", "gold labels"),
    "--prediction": ("COLUMN", "answers"),
}


class _Parser(argparse.ArgumentParser):
    """With ``--gate`` bad input and usage end with 3, for 2 is a verdict there."""

    bad = 2

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        super().exit(self.bad if message else status, message)


def reading_options() -> argparse.ArgumentParser:
    """How runs are read: options of every command that reads some."""
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument("--labels", metavar="FILE", help="gold labels, by id or by order")
    made.add_argument(
        "--exclude", action="append", default=[], metavar="RUN",
        help="leave a run out, of every setting that has it; repeatable",
    )  # fmt: skip
    what = made.add_argument_group("what is what, where it is not found out")
    for option, (name, text) in COLUMNS.items():
        what.add_argument(option, default="", metavar=name, help=text)
    what.add_argument("--file", default="", metavar="PATTERN", help="which file of each run")
    what.add_argument(
        "--only", action="append", default=[], metavar="COLUMN=VALUE",
        help="rows of one task, method, …; repeatable",
    )  # fmt: skip
    what.add_argument("--filter", metavar="NAME", help="of lm-eval: the same as --only filter=NAME")
    what.add_argument("--task", choices=("classification", "regression", "generation"), default="")
    what.add_argument(
        "--metric", default="",
        help="of the scores: "
        f"{', '.join((*CLASS_METRICS, *SCORE_METRICS, *TEXT_METRICS))}; or a column of scores",
    )  # fmt: skip
    return made


def parser(prog: str = "python -m lib.report") -> _Parser:
    """The options of the report."""
    made = _Parser(
        prog=prog,
        parents=[reading_options()],
        description="How unstable are these runs? Reads predictions, or scores, of several runs of "
        "one setting, writes report.html, measures.csv and examples.csv.",
        epilog=reading.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("path", help="a file, or a folder with a file or a folder for each run")
    other = made.add_argument_group("PATH (A) against another setting (B)")
    other.add_argument(
        "--against", action="append", default=[], metavar="PATH",
        help="runs of another setting on the same examples; repeatable, then all of every two",
    )  # fmt: skip
    other.add_argument(
        "--gate", action="store_true",
        help="only a line of text, and an exit code: 0 A is better, 1 not shown, 2 worse, 3 bad "
        "input or usage",
    )  # fmt: skip
    other.add_argument(
        "--sequential", type=Path, metavar="LEDGER.json",
        help="with --gate: record A among the candidates against B, and spend the error over them",
    )  # fmt: skip
    other.add_argument("--lower-is-better", action="store_true", help="with --gate, of a loss")
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


def measure(path: str, options: argparse.Namespace) -> tuple[MeasuredRuns, Taken]:
    """The runs of a path, read and measured as these options of a command say."""
    only = [*options.only, *([f"filter={options.filter}"] if options.filter else [])]
    columns = {name: vars(options)[name] for name in (option[2:] for option in COLUMNS)}
    group, taken = reading.read(
        path,
        labels=options.labels,
        exclude=options.exclude,
        options=Options(**columns, metric=options.metric, only=tuple(only)),
        file=options.file,
        task=options.task,
        missing_ok=bool(vars(options).get("against")),
    )
    # A column of the input, or a metric of the predictions.
    taken_as_column = "metric" in group.runs or options.metric == taken.labels
    metric = None if taken_as_column else options.metric or None
    how = {"level": options.level, "width": options.width, "repeats": taken.repeats}
    return measure_runs(group, metric=metric, **how), taken


def _settings(options: argparse.Namespace) -> tuple[dict[str, MeasuredRuns], Taken]:
    """PATH and what it is held against, by their paths; and what was taken for what in PATH."""
    measured, taken = measure(options.path, options)
    settings = {options.path: measured}
    for path in options.against:
        name = path + " again" * (path in settings)
        settings[name], _ = measure(path, options)
    out = {name for one in settings.values() for name in one.group.left_out}
    if lost := set(options.exclude) - out:
        raise OutsideError(f"no setting has a run {min(lost)!r} to exclude")
    return settings, taken


def _compared(
    settings: Mapping[str, MeasuredRuns], options: argparse.Namespace
) -> comparing.Compared | gate.Verdict | None:
    """Every two settings, by their paths, and what was noted of all but A; with ``--gate`` the
    verdict, and what was noted goes to standard error.
    """
    if len(settings) < 2:
        return None
    first, *others = settings.values()
    letters = dict(zip(string.ascii_uppercase, settings, strict=False))
    names = ", ".join(f"{letter} is {path}" for letter, path in letters.items())
    notes = [
        (letter, note) for letter, path in letters.items() for note in settings[path].group.notes
    ]
    noted = [f"{letter}: {note}" for letter, note in notes if not note.startswith("Taken as ")]
    try:
        if options.gate:
            sys.stderr.writelines(f"{note}\n" for note in noted)
            how = {"lower_is_better": options.lower_is_better, "ledger": options.sequential}
            name = Path(options.path).name
            return gate.judge(*others, first, alpha=1 - options.level, name=name, **how)
        if len(others) > 1:
            table, sentences = comparing.compare_all(settings, level=options.level)
        else:
            table, sentences = comparing.compare(first, *others, level=options.level)
    except OutsideError as error:
        raise OutsideError(f"{names}: {error}") from error
    sentences += [note for note in noted if not note.startswith("A: ")]
    return comparing.Compared(table, [f"{names}.", *sentences])


def main(arguments: Sequence[str] | None = None, prog: str = "python -m lib.report") -> None:
    """Write the report of runs made elsewhere."""
    made = parser(prog)
    if arguments is None and hasattr(signal, "SIGPIPE"):  # whoever reads may stop: … | head -1
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    words = sys.argv[1:] if arguments is None else arguments
    made.bad = 3 if any(word.startswith(("-g", "--g")) for word in words) else 2  # --gates, too
    options = made.parse_args(arguments)
    if options.gate and len(options.against) != 1:
        made.error("--gate takes one --against: the baseline")
    if (options.sequential or options.lower_is_better) and not options.gate:
        made.error("--sequential and --lower-is-better go with --gate")
    try:
        settings, taken = _settings(options)
        measured = settings[options.path]
        compared = _compared(settings, options)
        if options.gate:
            print(compared.line)
            made.exit(gate.EXIT_CODES[compared.verdict])
        head = certify_file(options.features) if options.features else None
    except (ValueError, OSError) as error:
        made.exit(2, f"{error}\n")
    written = ""
    if options.out or not options.format:
        out = options.out or Path("instability-report")
        try:
            written = f"written: {page.write(measured, out, head, compared, settings)}"
        except OSError as error:
            made.exit(2, f"{out}: cannot write there ({error}); choose another --out\n")
    if options.format:
        print(FORMATS[options.format](taken, *settings.values(), compared=compared))
        return
    said = [*interpret(measured), *(head.sentences() if head else ())]
    said += ["", *compared.sentences] if compared else []
    print(measured.group.source, *measured.group.notes, "", *said, "", written, sep="\n")
