"""A gate: is a candidate better than a baseline, by more than the seeds and the choice of examples?

For continuous integration, and for loops that try one change after the other. The test is that of
``comparing.mean_difference``, two-sided. What it keeps falsely is simulated in ``benchmarks.gate``.

A ledger spends α over all candidates against one baseline: the k-th is tested at
α · 20/((k + 19)(k + 20)), which adds up to α however many there are (so that all tests together,
dependent as they are, err with a chance of α at most), and leaves the 50th a tenth of the first.
"""

import json
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from lib import paths, provenance
from lib.measures.intervals import MIN_RUNS
from lib.report import comparing
from lib.report.measuring import MeasuredRuns
from lib.report.opening import OutsideError
from lib.results.run_group import RunGroup

EXIT_CODES = {"better": 0, "not shown": 1, "worse": 2}
#: The larger, the more even are the shares of α; and the fewest runs of each setting that a ledger
#: tests: three that all fail by chance would make every later candidate look better.
EVENNESS, FEWEST = 20, 5


class Verdict(NamedTuple):
    """``better``, ``not shown`` or ``worse``, a line that says why, and what it is by: the larger p
    of runs, and of runs and examples (NaN without a test), and the α that it is held against.
    """

    verdict: str
    line: str
    p: float
    alpha: float


def share(number: int, alpha: float) -> float:
    """What the candidate of this number, from 1, has of α."""
    return alpha * EVENNESS / ((number + EVENNESS - 1) * (number + EVENNESS))


def judge(
    baseline: RunGroup | MeasuredRuns,
    candidate: RunGroup | MeasuredRuns,
    *,
    alpha: float = 0.05,
    lower_is_better: bool = False,
    ledger: Path | None = None,
    name: str = "",
    **how: Any,
) -> Verdict:
    """Is the candidate better? If it is the baseline once more, it is called better or worse with a
    chance of ``alpha`` at most; with a ledger, any of all its candidates that are.

    Parameters
    ----------
    ledger : a file that records the candidates against this baseline, made if it is not there; the
        same candidate (``name`` and scores) again has its verdict again, and spends nothing, nor
        does one with too few runs for a test (those that answer alike count once). Of several
        processes that judge at once, one after the other has its turn (``paths.lock``).
    how : as for ``comparing.align``
    """
    if not 0 < alpha < 1:
        raise OutsideError(f"alpha = {alpha}: expected a share between 0 and 1, such as 0.05")
    alpha = round(alpha, 12)  # 1 − 0.95 is none too exact
    pair = comparing.align(candidate, baseline, **how)
    pair = pair._replace(groups=pair.groups[::-1])
    if pair.metric is None:
        raise OutsideError("a gate compares scores; give gold labels by --labels")
    own, other = (
        provenance.digest(sorted(round(float(score), 12) for score in group.scores))
        for group in pair.groups
    )
    entry, level, fewest, entries = {"candidate": name, "scores": other}, alpha, MIN_RUNS, []
    with nullcontext() if ledger is None else paths.lock(Path(ledger)):
        if ledger is not None:
            record = {"metric": pair.metric, "alpha": alpha, "lower_is_better": lower_is_better}
            record["baseline"], fewest = own, FEWEST
            entries = _entries(Path(ledger), record)
            level = share(len(entries) + 1, alpha)
        if before := [old for old in entries if entry.items() <= old.items()]:
            level = before[0]["alpha"]
        mean = comparing.mean_difference(pair, level=1 - level)
        sizes = [len(group) for group in pair.groups]
        tested = pair.fewest >= fewest
        p = max(mean["p"], mean.get("p_both", 0.0)) if tested else float("nan")
        better = (mean["value"] < 0) == lower_is_better
        verdict = ("better" if better else "worse") if p <= level else "not shown"
        if ledger is not None and tested and not before:
            entry |= {"time": datetime.now(UTC).isoformat(timespec="seconds"), "alpha": level}
            entries.append({**entry, "p": p, "verdict": verdict})
            with paths.atomic_file(Path(ledger)) as fresh:
                fresh.write_text(json.dumps({**record, "candidates": entries}, indent=1) + "\n")
    why = comparing.finding(mean, level)
    if not tested:
        why = f"no test: it takes {fewest} runs of each that differ"
    elif p > level:
        reach = mean["shown_from"]
        takes = [f"±{reach:.4f} with as many"] if reach >= 5e-5 else []
        if ledger is None:
            takes.append(comparing.what_it_takes(mean))
        why += f"; it takes {', or '.join(takes)}" if takes else ""
    line = (
        f"{verdict}: {pair.metric} {mean['first']:.4f} → {mean['second']:.4f} "
        f"({mean['value']:+.4f}){f', p = {p:.2g} against {level:.2g}' * tested}; {sizes[0]} and "
        f"{sizes[1]} runs{', paired by seed' * pair.paired}: {why}"
        f"{' (recorded before)' * bool(before)}"
    )
    return Verdict(verdict, line, p, level)


def _entries(ledger: Path, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The candidates of a ledger, which must be of this baseline, metric and α."""
    if not ledger.exists():
        return []
    try:
        found = json.loads(ledger.read_text(encoding="utf-8"))
        candidates, found["alpha"] = found["candidates"], round(found["alpha"], 12)
    except (ValueError, KeyError, TypeError) as error:
        raise OutsideError(f"{ledger}: is no ledger, or damaged; begin another") from error
    for key, value in record.items():
        if found.get(key) != value:
            raise OutsideError(
                f"{ledger}: its candidates were held against another {key} ({found.get(key)}, now "
                f"{value}); begin another ledger"
            )
    return candidates
