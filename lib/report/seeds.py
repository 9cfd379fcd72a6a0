"""How many runs, each with a seed of its own, does it take?

--difference  that a two-sided t test shows with --power: the smallest n (runs of each setting) with
              D > (t_{(1+level)/2} + t_power) S √(2/n); in pairs by seed, S √(2(1 − R)/n)
--half-width  of the interval of a mean: the smallest n with H > t_{(1+level)/2} S/√n
neither       of the chi-square interval of S, as a share of it; of RUNS, of disagreement too

No n is below 3 (neither: 5). S is the SD of scores over seeds, of RUNS or given. Scores are taken
as normal; where runs fail they are not, and it takes more.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from lib.measures.sample_size import seeds_needed_for_sd, seeds_to_tell
from lib.report import command
from lib.report.interpret import of_seeds

#: What each option is in the formulas, what it has to stay below, and its default.
OPTIONS = {
    "sd": ("S", np.inf, None), "difference": ("D", np.inf, None), "half_width": ("H", np.inf, None),
    "correlation": ("R", 1, None), "power": ("0.8", 1, 0.8), "level": ("0.95", 1, 0.95),
    "width": ("0.2", 1, 0.2),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None, prog: str = "instability seeds-needed") -> None:
    """Print how many runs a question takes."""
    shape, reading = argparse.RawDescriptionHelpFormatter, command.reading_options()
    parser = argparse.ArgumentParser(
        prog, description=__doc__, formatter_class=shape, parents=[reading]
    )
    parser.add_argument("path", nargs="?", metavar="RUNS", help="of one setting, whose SD is S")
    for name, (letter, _, default) in OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=float, metavar=letter, default=default)
    options = parser.parse_args(arguments)
    how_read = [vars(options)[name] for name in vars(reading.parse_args([]))]
    try:
        if any(how_read) and not options.path:
            raise ValueError("only RUNS are read")
        print(_answer(options))
    except (ValueError, OSError) as error:
        parser.exit(2, f"{prog}: {error}\n")


def _answer(options: argparse.Namespace) -> str:
    for name, (_, most, _) in OPTIONS.items():
        if (value := getattr(options, name)) is not None and not 0 < value < most:
            raise ValueError(f"{name} = {value:g}; expected more than 0 and less than {most}")
    known, asked = (options.path, options.sd), (options.difference, options.half_width)
    if known.count(None) != 1 or None not in asked:
        raise ValueError("give RUNS or --sd, and --difference or --half-width or neither: --help")
    if options.correlation and not options.difference:
        raise ValueError("--correlation goes with --difference")
    interval, sds = f"a {100 * options.level:g} % interval of", np.array([options.sd])
    aim = options.difference or options.half_width
    if options.path:
        measured, _ = command.measure(options.path, options)
        sds = measured.table.query("measure == 'sd'")[["value", "low", "high"]].to_numpy().ravel()
        if not (sds.size if aim else (text := of_seeds(measured))):
            raise ValueError(f"{options.path}: no scores, so no SD of them; give --labels")
        if not aim:
            return text[0]
        if aim >= 1 and ((scores := measured.group.scores) >= 0).all() and (scores <= 1).all():
            raise ValueError(f"{aim:g}, of scores between 0 and 1? There one point is 0.01")
    elif not aim:
        needed = seeds_needed_for_sd(width=options.width, level=options.level)
        return f"{_runs([needed], 300)}: {interval} the SD ± {100 * options.width:g} % of it."
    power, shares = (options.power, [1, 1]) if options.difference else (0.5, [1])
    if options.correlation:
        shares = [2 * (1 - options.correlation)]
    variances, how = np.outer(sds**2, shares), {"power": power, "level": options.level}
    text = f"{_runs([seeds_to_tell(aim, one, **how) for one in variances], 1000)}"
    if options.difference:
        paired = ", paired by seed: a two-sided paired" if options.correlation else ": a two-sided"
        text += (
            f" of each setting{paired} t test at {100 * (1 - options.level):.3g} % shows a "
            f"difference of {aim:g} between their means in {100 * power:g} % of cases"
        )
    else:
        text += f": {interval} the mean ± {aim:g}"
    return f"{text}, where scores are normal with SD {sds[0]:.3g}."


def _runs(needed: Sequence[float], most: int) -> str:
    first, *ends = (f"{n:g}" if n <= most else f"more than {most}" for n in needed)
    return f"{first} runs" + (f" ({' to '.join(ends)} over the interval of the SD)" if ends else "")
