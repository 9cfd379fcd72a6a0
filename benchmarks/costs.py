"""What every configuration takes or would take: operations, hours, gigabytes, jobs.

The model of costs left the library. Its modules are taken out of the history at ``MODEL``, so a
clone has to have that, and they read today's configurations and tables of runs. What is computed
is put between the marks of ``costs.md`` and of the paragraph in ``docs/many-runs.md``.
"""

import argparse
import dataclasses
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from types import SimpleNamespace

import pandas as pd

import lib
from lib import paths, provenance
from lib.config import grids
from lib.data import tasks
from lib.measures import summary
from lib.models import methods
from lib.results import group_tables, tables
from lib.workflow import jobs

MODEL, MODULES = "af6456d", ("costs", "costs_page", "sizes", "timing", "work")
FOLDER = paths.DATA / "benchmarks"
PAGES = (FOLDER / "costs.md", paths.ROOT / "docs/many-runs.md")
MARK = re.compile(r"(<!-- costs: (\w+) -->\s*).*?(\s*<!-- /costs -->)", re.DOTALL)
#: Configurations of the second campaign, by the letters of its plan (docs/preregistration.md).
STUDIES = {
    "A": "size-and-length", "B": "score-noise", "C": "half-failing", "D": "distinct-methods",
    "E": "lora", "F": "orders", "G": "optimizers", "H": "course",
}  # fmt: skip
#: Of runs of equal work, the share that is taken to have been disturbed by nothing.
UNDISTURBED = 0.1
#: Tasks that came after the model: rows, and tokens, counted as it counted them.
NEWER = {"course": (580, 290, 22.7), "vitaminc": (43395, 11273, 57.9)}


def model() -> SimpleNamespace:
    """The modules of the model, which find today's modules under the names of then."""
    command = ["git", "archive", MODEL, *(f"lib/{name}.py" for name in MODULES)]
    made = subprocess.run(command, cwd=paths.ROOT, capture_output=True)
    if made.returncode:
        sys.exit(f"{made.stderr.decode()}commit {MODEL} is not here: git fetch --unshallow")
    kinds = {name: measure.granularity for name, measure in summary.MEASURES.items()}
    suits = SimpleNamespace(
        analyses_of=lambda grid: [last for last, suits in jobs.ANALYSES.values() if suits(grid)]
    )
    groups = SimpleNamespace(
        MEASURES=[name for name, kind in kinds.items() if kind == "representation"],
        SAMPLE_RUNS=group_tables.SAMPLE_RUNS,
        SAMPLE_EXAMPLES=group_tables.SAMPLE_EXAMPLES,
    )
    today = {"grids": grids, "tasks": tasks, "methods": methods, "tables": tables}
    today |= {"jobs": suits, "groups": groups}
    sys.modules.update({f"lib.{name}": module for name, module in today.items()})
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
            archive.extractall(folder, filter="data")
        lib.__path__.append(f"{folder}/lib")
        for name in MODULES:
            __import__(f"lib.{name}")
        lib.__path__.pop()
    found = SimpleNamespace(**{name: sys.modules[f"lib.{name}"] for name in MODULES})
    found.sizes.TASKS |= {name: found.sizes.Size(*size) for name, size in NEWER.items()}
    found.work._outputs = _outputs
    return found


def _outputs(setting) -> tuple[int, int]:
    """Outputs of the head, and columns of logits; COPA's candidates are scored one by one."""
    classes = tasks.get(setting.task, setting.text_columns, setting.label_column).n_classes
    return (1 if setting.task == "copa" else classes), classes


def every_grid() -> dict[str, list]:
    """The grids of each file of ``config``; the list of the campaign and lists of jobs have none of
    their own. The model is one of classifiers: grids of runs that generate texts are left out.
    """
    found = {}
    for path in sorted((paths.ROOT / "config").glob("*.yaml")):
        plans = [] if path.stem == "campaign" else grids.load_plans(path.stem)
        ours = [plan for plan in plans if isinstance(plan, grids.Grid)]
        found[path.stem] = [
            grid for grid in ours if not any(tasks.generates(one.task) for one in grid.settings)
        ]
    return found


def timed_runs(ran: list) -> pd.DataFrame:
    """A row a time that a run took: ``configuration, setting, seed_label, device, wall_s``,
    ``before`` (from ``run_times.csv``, before it was made again) and ``steps`` of the others.
    """
    frames, first = [], pd.read_csv(FOLDER / "run_times.csv")
    for grid in ran:
        name, settings = paths.reference_of(grid.name), {one.id: one for one in grid.settings}
        now = tables.read(name, "runs").assign(before=False)
        if gone := set(now["setting_id"]) - set(settings):
            sys.exit(f"{name}: setting {min(gone)} is not in config/{grid.name}.yaml any more")
        then = first[(first["results"] == name) & first["setting_id"].isin(settings)]
        both = pd.concat([now, then.assign(before=True)])
        both["setting"] = both["setting_id"].map(settings)
        frames.append(both.assign(configuration=grid.name))
    return pd.concat(frames, ignore_index=True)


def by_setting(times: pd.DataFrame, work) -> pd.DataFrame:
    """A row a setting of ``timed_runs``, as ``timing.committed`` gave them: ``seconds`` of a run
    are the fastest decile of all times of equal work in a configuration. Beside it are ``spent``,
    the seconds of all runs as they were, and ``longest``, the longest of those times.
    """
    works = {one.id: work.work_of(one) for one in times["setting"].drop_duplicates()}
    times = times.assign(work=times["setting_id"].map(works))
    for run in times[~times["before"]].itertuples():
        if run.steps != run.work.steps:
            sys.exit(f"{run.setting_id}: {run.steps} steps, the model counts {run.work.steps}")
    pairs = zip(times["setting"], times["work"], strict=True)
    times["size"] = pd.Series([(one.backbone, one.precision, work[:6]) for one, work in pairs])
    same = times.groupby(["configuration", "device", "size"])["wall_s"]
    times["seconds"] = same.transform("quantile", UNDISTURBED)
    times["longest"] = same.transform("max")
    rows = times[~times["before"]].groupby(["configuration", "setting_id", "device"], sort=False)
    kept = {name: (name, "first") for name in ("setting", "work", "size", "seconds", "longest")}
    spent = {"runs": ("wall_s", "size"), "spent": ("wall_s", "sum")}
    return rows.agg(**kept, **spent).reset_index()


def second_campaign() -> pd.DataFrame:
    """A row a study of the second campaign and device: its runs, and hours as they were."""
    rows, held = [], tables.committed()
    for letter, name in STUDIES.items():
        if (reference := paths.reference_of(name)) not in held:
            rows.append((letter, name, 0, "", 0.0))
            continue
        for device, runs in tables.read(reference, "runs").groupby("device"):
            rows.append((letter, name, len(runs), device, float(runs["wall_s"].sum()) / 3600))
    table = pd.DataFrame(rows, columns=["study", "configuration", "runs", "device", "hours"])
    table.loc[len(table)] = ["all", "", table["runs"].sum(), "", table["hours"].sum()]
    return table


def blocks() -> tuple[dict[str, str], pd.DataFrame]:
    """What stands between the marks, by name, and ``costs.csv``."""
    the = model()
    show, digits, files = the.costs_page.markdown, the.costs.digits, every_grid()
    papers, pilots = files.pop("paper"), files.pop("pilots")
    pilots = [dataclasses.replace(grid, name=f"pilots/{grid.name}") for grid in pilots]
    others = [grid for found in files.values() for grid in found]
    held = tables.committed()
    ran = [grid for grid in others if paths.reference_of(grid.name) in held]
    rest = [grid for grid in others if grid not in ran] + pilots
    times = timed_runs(ran)
    known, gain = by_setting(times, the.work), the.timing.bfloat16_gain()
    speed = the.timing.fit(known, gain)
    here, there, theirs = (the.costs.by_configuration(g, speed) for g in (ran, rest, papers))
    on_cpu = known[known["device"] == "cpu"]
    spent = on_cpu.groupby("configuration")["spent"].sum()

    checks = pd.DataFrame(the.timing.leave_one_out(known, gain))
    checks = checks.rename(columns={"measured_s": "undisturbed_s"})
    checks.insert(4, "spent_s", checks["configuration"].map(spent))
    checks["of spent"] = checks["predicted_s"] / checks["spent_s"]
    undisturbed = checks["undisturbed_s"].sum() / 3600
    low, high = checks["ratio"].min(), checks["ratio"].max()
    of_spent = f"{checks['of spent'].min():.2f} to {checks['of spent'].max():.2f}"
    near = checks["ratio"].between(0.8, 1.25).sum()
    twice = times.pivot_table("wall_s", ["configuration", "setting_id", "seed_label"], "before")
    again = (twice[False] / twice[True]).dropna()
    slowest = known["longest"] / known["seconds"]
    shared = known.groupby("size").filter(lambda rows: rows["configuration"].nunique() > 1)
    ends = shared.groupby("size")["seconds"].agg(["min", "max"])
    apart = ends["max"] / ends["min"]
    actual = sum(
        file.stat().st_size
        for grid in ran
        for file in paths.results(paths.reference_of(grid.name)).rglob("*.parquet")
    )
    gpu = the.timing.gpu_check(known)
    family = the.costs_page.published(theirs).set_index("paper").loc["Du & Nguyen"]
    saved, n_timed = the.costs_page.saved_models() / 1e12, (times["device"] == "cpu").sum()
    times_more = theirs["PFLOP"].sum() / here["PFLOP"].sum()
    commit, dirty = provenance.commit()
    settings = pd.concat([the.costs.by_setting(g, speed) for g in [*ran, *rest, *papers]])
    made = {
        "made": f"at commit {commit}{' with changes' if dirty else ''}",
        "spent": f"{here['runs'].sum():,} runs, {here['PFLOP'].sum():.2f} PFLOP. Those on a CPU "
        f"took {spent.sum() / 3600:.1f} core hours. At the speed of the fastest decile they would "
        f"have taken {undisturbed:.1f}.",
        "ran": the.costs_page.in_two(here),
        "campaign": show(second_campaign()),
        "rest": the.costs_page.in_two(there),
        "times": f"about {float(f'{times_more:.1g}'):,.0f} times the operations of what was run",
        "papers": the.costs_page.in_two(theirs),
        "expect": f"{1 / high:.2f} to {1 / low:.2f} times that on a quiet machine, and up to "
        f"{1 / checks['of spent'].min():.1f} times on a busy one",
        "largest": f"up to {theirs['largest group GB'].max():,.0f} GB",
        "jobs": f"{the.timing.job_seconds():.1f} s a job",
        "published": show(the.costs_page.published(theirs)),
        "saved": f"{saved:.2f} TB by this model",
        "kept": f"{family['kept GB']:.1f} GB",
        "near": f"{low:.2f} to {high:.2f} times the undisturbed seconds, for {near} of "
        f"{len(checks)} configurations 0.8 to 1.25 times, and {of_spent} times the seconds that "
        "were spent",
        "checks": show(checks),
        "disturbed": f"Of equal work in one configuration the longest time was up to "
        f"{slowest.max():.0f} times the fastest decile, and {slowest.median():.1f} times in the "
        f"middle setting. {len(again)} runs were timed twice. The second time was "
        f"{again.median():.2f} times the first in the median, and for one run in ten more than "
        f"{again.quantile(0.9):.1f} times.",
        "apart": f"{len(apart)} amounts of work are in more than one configuration. Their fastest "
        f"deciles are up to {apart.max():.1f} times apart, {apart.median():.1f} in the median",
        "benchmark": show(the.timing.benchmark_check(speed)),
        "disk": f"{actual / 1e6:.1f} MB. By the model they would be "
        f"{here['tables MB'].sum():.1f} MB before they are packed.",
        "lengths": show(the.costs_page.length_check()),
        "gpu": "No run was timed on a GPU." if gpu.empty else show(gpu),
        "speed": f"operations at {1e-9 / speed.operation:.0f} GFLOP/s in float32 and {gain:.2f} "
        f"times that in bfloat16, {speed.update * 1e9:.1f} ns for each weight at each step, "
        f"{speed.start:.2f} s a run; fitted to {n_timed:,} times of runs",
        "models": show(
            pd.DataFrame(
                [(name, one.parameters(), one.layers) for name, one in the.sizes.MODELS.items()],
                columns=["backbone", "weights", "layers"],
            )
        ),
        "grid": f"Each configuration, predicted from the others, comes out at {low:.2f} to "
        f"{high:.2f} of what its fastest runs took, and at {of_spent} of what all of them took "
        "beside other work. GPU hours were not measured and are a range under assumptions that are "
        f"named. Du & Nguyen's {family['runs']} runs are some {digits(round(family['PFLOP'], -1))} "
        f"PFLOP and {family['vectors GB']:.0f} GB of layer vectors, of which "
        f"{family['kept GB']:.1f} GB stay; their 600 saved models would be {saved:.1f} TB.",
    }
    return made, settings


def filled(text: str, made: dict[str, str]) -> str:
    """A page with what was computed between its marks; ``KeyError`` at one that is not known."""
    return MARK.sub(lambda mark: mark[1] + made[mark[2]] + mark[3], text)


def main() -> None:
    """Write ``costs.csv`` and fill the pages."""
    argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__).parse_args()
    made, settings = blocks()
    settings.to_csv(FOLDER / "costs.csv", index=False, float_format="%.4g")
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main()
